namespace Pitr.Tests;

/// <summary>This test is of a row of docs/reference/mixed-cases.md; <see cref="MixedCasesTests"/> holds both together.</summary>
[AttributeUsage(AttributeTargets.Method, AllowMultiple = true)]
internal sealed class MixedCaseAttribute(string label) : Attribute
{
    /// <summary>The row's.</summary>
    public string Label { get; } = label;
}
