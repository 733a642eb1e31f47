using static Pitr.Actors.AdminProtocol;
using W = Pitr.Actors.Wire;

namespace Pitr.Actors;

/// <summary>The wire's forms of a session's messages, and of the answers that several requests have.</summary>
internal static class SessionWire
{
    /// <summary>All of them.</summary>
    public static IEnumerable<WireEntry> Entries =>
    [
        WireEntry.Of<OpenSession, W.OpenSession>(
            "open-session.1",
            m => new W.OpenSession { Version = m.Version, Token = m.Token, Client = m.Client },
            w => new OpenSession(w.Version, w.Token, w.Client)),
        WireEntry.Of<SessionOpened, W.SessionOpened>(
            "session-opened.1",
            m => new W.SessionOpened
            {
                Version = m.Version,
                SystemId = m.SystemId.Value,
                Folder = m.Folder,
                Http = m.Http,
                Role = ToWire(m.Role),
            },
            w => new SessionOpened(
                w.Version, new SystemIdentifier(w.SystemId), w.Folder, w.Http, FromWire(w.Role))),
        WireEntry.Of<SessionRefused, W.SessionRefused>(
            "session-refused.1",
            m => new W.SessionRefused { Why = ToWire(m.Why) },
            w => new SessionRefused(FromWire(w.Why))),
        WireEntry.Of<Ping, W.Ping>("ping.1", _ => new W.Ping(), _ => new Ping()),
        WireEntry.Of<Pong, W.Pong>(
            "pong.1", m => new W.Pong { SessionIsOpen = m.SessionIsOpen }, w => new Pong(w.SessionIsOpen)),
        WireEntry.Of<CloseSession, W.CloseSession>(
            "close-session.1", _ => new W.CloseSession(), _ => new CloseSession()),
        WireEntry.Of<CancelRequest, W.CancelRequest>(
            "cancel-request.1", m => new W.CancelRequest { Cancelled = m.Cancelled }, w => new CancelRequest(w.Cancelled)),
        WireEntry.Of<FenceWasBroken, W.FenceWasBroken>(
            "fence-was-broken.1",
            m => new W.FenceWasBroken
            {
                FenceId = WireForms.Of(m.FenceId),
                Datafile = m.Datafile,
                Why = ToWire(m.Why),
            },
            w => new FenceWasBroken(WireForms.ToFence(w.FenceId), w.Datafile, FromWire(w.Why))),
        WireEntry.Of<Done, W.Done>("done.1", m => new W.Done { RequestId = m.RequestId }, w => new Done(w.RequestId)),
        WireEntry.Of<Failed, W.Failed>(
            "failed.1",
            m => new W.Failed { RequestId = m.RequestId, Why = ToWire(m.Why) },
            w => new Failed(w.RequestId, FromWire(w.Why))),
        WireEntry.Of<Progress, W.Progress>(
            "progress.1",
            m => new W.Progress
            {
                RequestId = m.RequestId,
                Step = m.Step,
                DoneBytes = m.DoneBytes,
                TotalBytes = m.TotalBytes,
            },
            w => new Progress(w.RequestId, w.Step, w.DoneBytes, w.TotalBytes)),
    ];

    private static W.Problem ToWire(AdminProblem problem) => new()
    {
        Code = problem.Code,
        ExitCode = problem.ExitCode,
        Message = problem.Message,
        Hint = problem.Hint,
    };

    private static AdminProblem FromWire(W.Problem? problem)
    {
        W.Problem given = WireForms.Require(problem, "why");
        return new AdminProblem(given.Code, given.ExitCode, given.Message, given.Hint);
    }

    private static W.Role ToWire(AdminRole role) => role switch
    {
        AdminRole.Viewer => W.Role.Viewer,
        AdminRole.Operator => W.Role.Operator,
        _ => W.Role.None,
    };

    /// <summary>A role that this release does not know is none.</summary>
    private static AdminRole FromWire(W.Role role) => role switch
    {
        W.Role.Viewer => AdminRole.Viewer,
        W.Role.Operator => AdminRole.Operator,
        _ => AdminRole.None,
    };
}
