namespace Pitr.Samples.Shop;

/// <summary>What Pitr refuses, as an answer that says what to do: the kinds of its errors are few.</summary>
internal sealed class PitrProblems(RequestDelegate next)
{
    public async Task InvokeAsync(HttpContext context)
    {
        try
        {
            await next(context);
        }
        catch (PitrException problem) when (!context.Response.HasStarted)
        {
            context.Response.StatusCode = problem switch
            {
                NotFoundException => StatusCodes.Status404NotFound,
                RefusedException => StatusCodes.Status409Conflict,
                _ => StatusCodes.Status500InternalServerError,
            };
            await context.Response.WriteAsJsonAsync(new
            {
                title = problem.Message,
                detail = problem.Hint,
                code = $"PITR-{(int)problem.Code}",
            });
        }
        catch (ArgumentException wrong) when (!context.Response.HasStarted)
        {
            context.Response.StatusCode = StatusCodes.Status400BadRequest;
            await context.Response.WriteAsJsonAsync(new { title = wrong.Message });
        }
    }
}
