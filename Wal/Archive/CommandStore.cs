using Pitr.Storage;

namespace Pitr.Wal;

/// <summary>A store behind two to four commands (<see cref="ArchiveCommand"/>): a file in, a file out.</summary>
/// <remarks>
/// NAMES  a command sees one flat name: that of a segment or part without its folder, so that it begins with the 24
/// digits, and <c>history-00000001.json</c> for <c>history/00000001.json</c>; notes of gaps in the same way.
///
/// INVARIANTS  Of those of IArchiveStore S1, S2 and S4 are the commands' to keep: everything is read back before it
/// counts (<see cref="ArchivePush"/>), a durability that a command does not give cannot be seen. S3 is kept by none:
/// <see cref="Abilities"/> says so, and the operator that it is known (H27).
///
/// What goes through a command is a file of this user's temporary folder meanwhile, 0600; a name that nobody has.
/// FAILURE  StoreFailed with the exit code and what the command said.
/// </remarks>
internal sealed class CommandStore : IArchiveStore
{
    private readonly StoreAddress _address;
    private readonly ArchiveCommand _command;
    private readonly IFileSystem _files;
    private readonly Func<ulong> _random;
    private readonly TimeProvider _clock;

    /// <exception cref="RefusedException">StoreWithoutClaims: it is not said to be unclaimed; StoreAddressInvalid: a
    /// command has no %p or %f.</exception>
    public CommandStore(
        StoreAddress address, ArchiveCommand command, IFileSystem files, Func<ulong> random, TimeProvider clock)
    {
        (_address, _command, _files, _random, _clock) = (address, command, files, random, clock);
        Require(command.Archive, nameof(command.Archive), "%p", "%f");
        Require(command.Restore, nameof(command.Restore), "%p", "%f");
        Require(command.List, nameof(command.List));
        Require(command.Delete, nameof(command.Delete), "%f");
        if (command.Timeout <= TimeSpan.Zero || command.Timeout > TimeSpan.FromDays(1))
            throw ArchiveErrors.AddressInvalid(address.Text, "its timeout is not between a moment and a day");
        if (!command.Unclaimed)
            throw ArchiveErrors.CommandNotUnclaimed(address.Text);
    }

    /// <inheritdoc/>
    public string Name => _address.Text;

    /// <inheritdoc/>
    public string Place => _address.Place;

    /// <inheritdoc/>
    public StoreAbilities Abilities =>
        (_command.List is null ? 0 : StoreAbilities.Lists) | (_command.Delete is null ? 0 : StoreAbilities.Deletes);

    /// <inheritdoc/>
    public void CreateRoot()
    {
        // What the commands need is the operator's.
    }

    /// <inheritdoc/>
    public void Put(string name, ReadOnlyMemory<byte> content) =>
        Put(name, file => file.Write(0, content.Span));

    /// <inheritdoc/>
    public void Put(string name, Stream content) => Put(name, file =>
    {
        byte[] piece = new byte[1 << 20];
        long at = 0;
        while (content.ReadAtLeast(piece, piece.Length, throwOnEndOfStream: false) is var read and > 0)
        {
            file.Write(at, piece.AsSpan(0, read));
            at += read;
        }
    });

    /// <summary>Looks, and then puts: no more can be done by a command (H27).</summary>
    public bool TryPutIfAbsent(string name, ReadOnlyMemory<byte> content)
    {
        if (Stat(name) is not null)
            return false;
        Put(name, content);
        return true;
    }

    /// <inheritdoc/>
    public ReadOnlyMemory<byte> Get(string name) => TryGet(name) ?? throw ArchiveErrors.ObjectUnknown(Name, name);

    /// <inheritdoc/>
    public ReadOnlyMemory<byte>? TryGet(string name)
    {
        using RestoredFile? file = Restore(name);
        if (file is null)
            return null;
        byte[] content = new byte[file.Length];
        file.ReadExactly(content);
        return content;
    }

    /// <inheritdoc/>
    public Stream OpenRead(string name) => Restore(name) ?? throw ArchiveErrors.ObjectUnknown(Name, name);

    /// <inheritdoc/>
    public IReadOnlyList<string> List(string prefix)
    {
        IReadOnlyList<string> command = _command.List
            ?? throw ArchiveErrors.StoreFailed(Name, prefix, "it has no command 'list', so what is in it is not known");
        CommandResult listed = Run(command, "", "", wantsOutput: true);
        if (!listed.IsDone)
            throw ArchiveErrors.StoreFailed(Name, prefix, $"its command 'list' did not list it, {listed.Words}");
        return
        [
            .. listed.Output.Split('\n', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries)
                .Select(static line => line[(line.LastIndexOf('/') + 1)..])
                .Select(FullOf).OfType<string>()
                .Where(name => name.StartsWith(prefix, StringComparison.Ordinal))
                .Distinct(StringComparer.Ordinal).Order(StringComparer.Ordinal),
        ];
    }

    /// <inheritdoc/>
    public void Delete(string name)
    {
        string file = FlatOf(name);
        IReadOnlyList<string> command = _command.Delete
            ?? throw ArchiveErrors.StoreFailed(Name, name, "it has no command 'delete'");
        CommandResult deleted = Run(command, "", file);
        if (!deleted.IsDone && !deleted.IsNo)
            throw ArchiveErrors.StoreFailed(Name, name, $"its command 'delete' did not remove it, {deleted.Words}");
    }

    /// <inheritdoc/>
    public StoredObject? Stat(string name)
    {
        using RestoredFile? file = Restore(name);
        return file is null ? null : new StoredObject(name, file.Length);
    }

    /// <inheritdoc/>
    public int RemoveStrays() => 0;

    private void Put(string name, Action<IFileHandle> write)
    {
        string file = FlatOf(name);
        string path = NewPath();
        try
        {
            using (IFileHandle handle = _files.Open(path, FileOpen.CreateNew))
            {
                write(handle);
                handle.SyncData();
            }
            CommandResult archived = Run(_command.Archive, path, file);
            if (!archived.IsDone)
                throw ArchiveErrors.StoreFailed(Name, name, $"its command 'archive' did not take it, {archived.Words}");
        }
        catch (StorageFailedException failed) when (failed.Code != ErrorCode.StoreFailed)
        {
            throw ArchiveErrors.StoreFailed(Name, "write", name, failed);
        }
        finally
        {
            DeleteQuietly(path);
        }
    }

    private RestoredFile? Restore(string name)
    {
        string file = FlatOf(name);
        string path = NewPath();
        bool isOpen = false;
        try
        {
            CommandResult restored = Run(_command.Restore, path, file);
            if (restored.IsNo)
                return null;
            if (!restored.IsDone)
                throw ArchiveErrors.StoreFailed(Name, name, $"its command 'restore' did not give it, {restored.Words}");
            if (_files.Stat(path) is not { IsFolder: false })
                throw ArchiveErrors.StoreFailed(Name, name, "its command 'restore' ended with exit code 0 and gave no file");
            var stream = new RestoredFile(_files.Open(path, FileOpen.Read), () => DeleteQuietly(path));
            isOpen = true;
            return stream;
        }
        catch (StorageFailedException failed) when (failed.Code != ErrorCode.StoreFailed)
        {
            throw ArchiveErrors.StoreFailed(Name, "read", name, failed);
        }
        finally
        {
            if (!isOpen)
                DeleteQuietly(path);
        }
    }

    private CommandResult Run(IReadOnlyList<string> command, string path, string file, bool wantsOutput = false) =>
        CommandRun.Run(Name, command, path, file, _command.Timeout, _clock, wantsOutput);

    private string NewPath() => System.IO.Path.Combine(System.IO.Path.GetTempPath(), $"pitr-command-{_random():X16}");

    private void DeleteQuietly(string path)
    {
        try
        {
            Delete(path, _files.Stat(path));
        }
        catch (StorageFailedException)
        {
            // Best effort: it lies in the temporary folder.
        }
    }

    /// <summary>Whatever a command has made under the name that it was given.</summary>
    private void Delete(string path, FileEntry? there)
    {
        if (there is { IsFolder: true, IsSymlink: false })
        {
            foreach (string name in _files.List(path))
                Delete($"{path}/{name}", _files.Stat($"{path}/{name}"));
            _files.DeleteFolder(path);
        }
        else if (there is not null)
        {
            _files.Delete(path);
        }
    }

    private void Require(IReadOnlyList<string>? command, string what, params string[] placeholders)
    {
        if (command is null)
            return;
        string name = what.ToLowerInvariant();
        if (command.Count == 0 || command[0].Length == 0 || command.Any(static word => word.Contains('\0', StringComparison.Ordinal)))
            throw ArchiveErrors.AddressInvalid(_address.Text, $"its command '{name}' names no program");
        if (placeholders.FirstOrDefault(
            sign => !command.Skip(1).Any(word => word.Contains(sign, StringComparison.Ordinal))) is { } missing)
            throw ArchiveErrors.AddressInvalid(_address.Text, $"no argument of its command '{name}' has {missing}");
        if (command.Skip(1).FirstOrDefault(static word => !CommandRun.IsFillable(word)) is { } wrong)
            throw ArchiveErrors.AddressInvalid(
                _address.Text, $"'{wrong}' of its command '{name}' has a percent sign that is none of %p, %f and %%");
    }

    /// <summary>The name that a command sees.</summary>
    private static string FlatOf(string name)
    {
        if (!ObjectName.IsValid(name))
            throw ArchiveErrors.NameInvalid(name);
        string flat = name.StartsWith(ObjectName.WalPrefix, StringComparison.Ordinal)
            ? name[ObjectName.WalPrefix.Length..] : name.Replace('/', '-');
        return char.IsAsciiLetterOrDigit(flat[0]) && !flat.Contains('/', StringComparison.Ordinal)
            ? flat : throw ArchiveErrors.NameInvalid(name);
    }

    /// <summary>The object's name for one that a command listed; null if it is none of a store's.</summary>
    private static string? FullOf(string flat)
    {
        string wal = ObjectName.WalPrefix + flat;
        if (ObjectName.TryParseSegment(wal, out _, out _) || ObjectName.TryParsePart(wal, out _, out _, out _, out _))
            return wal;
        int mark = flat.IndexOf('-', StringComparison.Ordinal);
        string inFolder = mark < 0 ? flat : $"{flat[..mark]}/{flat[(mark + 1)..]}";
        return ObjectName.TryParseHistory(inFolder, out _) || ObjectName.TryParseGap(inFolder, out _, out _, out _)
            || ObjectName.TryParseExpired(inFolder, out _, out _, out _)
            ? inFolder
            : flat == ObjectName.Identity ? flat : null;
    }

    /// <summary>What a command restored, read forward; gone when it is disposed.</summary>
    private sealed class RestoredFile(IFileHandle file, Action whenDone) : ForwardStream
    {
        private long _at;

        public override long Length => file.LengthBytes;

        protected override long BytesRead => _at;

        public override int Read(Span<byte> buffer)
        {
            int read = file.Read(_at, buffer);
            _at += read;
            return read;
        }

        protected override void Dispose(bool disposing)
        {
            if (disposing)
            {
                file.Dispose();
                whenDone();
            }
            base.Dispose(disposing);
        }
    }
}
