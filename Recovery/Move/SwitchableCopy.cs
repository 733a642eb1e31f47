using Pitr.Storage;
using Pitr.Wal;

namespace Pitr.Recovery;

/// <summary>
/// A copy of a still datafile, proven, that is to take its place: what a mover has made, and what the datafile's own actor
/// switches to (H20).
/// </summary>
/// <remarks>THREADS  one at a time: the mover's worker, then, with the switch, the datafile's.</remarks>
internal abstract class SwitchableCopy : IDisposable
{
    public abstract FileId FileId { get; }

    /// <summary>The datafile's name in the database, for messages.</summary>
    public abstract string Datafile { get; }

    /// <summary>Where the datafile will lie; absolute.</summary>
    public abstract string To { get; }

    /// <summary>True if nothing but the control file's replacement makes the copy the datafile.</summary>
    public abstract bool IsSwitchedByRecord { get; }

    /// <summary>What is logged before the switch; null: nothing.</summary>
    /// <param name="folder">The database's.</param>
    public abstract WalEvent? Record(string folder);

    /// <summary>
    /// Makes the copy the datafile, on a worker, while the datafile is still and its fence can't break. After a failure
    /// the name is looked at: only if it leads where it led, and that is durable, nothing has happened.
    /// </summary>
    public abstract SwitchOutcome Switch();

    /// <summary>What the datafile reports when nobody knows which file its name leads to.</summary>
    public abstract RefusedException Undecided(string why);

    /// <summary>Takes the copy away again, if this object has made it; durable when it returns.</summary>
    public abstract void Remove();

    public abstract void Dispose();
}

/// <summary>What came of a switch, as far as the disk is concerned.</summary>
internal abstract record SwitchOutcome
{
    /// <summary>The name leads to the copy, durably (by record: as soon as the control file says so).</summary>
    /// <param name="IsFormerNameless">
    /// The switch took the only name of the former file, durably, and giving that one's room back takes long.
    /// </param>
    public abstract record Done(bool IsFormerNameless) : SwitchOutcome
    {
        /// <summary>The datafile goes on in the copy, and owns what was opened of it.</summary>
        /// <param name="file">The datafile.</param>
        /// <param name="takesFormer">
        /// Gets the former file when nobody reads it any more, if the switch left it without a name; null: it is closed. On
        /// any thread; it must not throw.
        /// </param>
        public void GoOn(Storage.Datafile file, Action<NamelessFile>? takesFormer) =>
            Enter(file, IsFormerNameless ? takesFormer : null);

        /// <summary>Nobody goes on in it: what was opened of it is closed.</summary>
        public abstract void LetGo();

        protected abstract void Enter(Storage.Datafile file, Action<NamelessFile>? takesFormer);
    }

    /// <summary>The copy has the same pages: a move.</summary>
    /// <param name="Handle">The copy, open under the path that it has from now on; and its lock.</param>
    /// <param name="Lock">See Handle.</param>
    /// <param name="IsFormerNameless">See <see cref="Done"/>.</param>
    public sealed record Moved(IFileHandle Handle, IDisposable Lock, bool IsFormerNameless) : Done(IsFormerNameless)
    {
        public override void LetGo()
        {
            Handle.Dispose();
            Lock.Dispose();
        }

        protected override void Enter(Storage.Datafile file, Action<NamelessFile>? takesFormer) =>
            file.GoOnIn(Handle, Lock, takesFormer);
    }

    /// <summary>The copy has the same rows in other pages (H42).</summary>
    /// <param name="File">Open under the datafile's path.</param>
    /// <param name="Meta">Its meta page, durable.</param>
    /// <param name="IsFormerNameless">See <see cref="Done"/>.</param>
    public sealed record Compacted(OpenIncarnation File, MetaPage Meta, bool IsFormerNameless) : Done(IsFormerNameless)
    {
        public override void LetGo() => File.Close(); // nobody has read it

        protected override void Enter(Storage.Datafile file, Action<NamelessFile>? takesFormer) =>
            file.Enter(File, Meta, takesFormer);
    }

    /// <summary>The name leads where it led, durably: nothing has happened.</summary>
    public sealed record NotSwitched(Exception Why) : SwitchOutcome;

    /// <summary>A power loss would decide: nothing may be written to either file until an opening has looked.</summary>
    public sealed record Unknown(Exception Why) : SwitchOutcome;
}
