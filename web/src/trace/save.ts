import { ApiError, api, joinText } from "../api/client";
import { formatPortable } from "../model/portable";
import { download } from "../shell/download";

/** saveTrace asks for all parts of a trace and hands them to the browser as one file. */
export async function saveTrace(traceId: string): Promise<void> {
  const [skeleton, otlp, hops] = await Promise.all([
    api.skeleton(traceId).then(joinText),
    api.otlp(traceId).then(joinText),
    api.hops(traceId).then(
      (h) => JSON.stringify(h),
      // An engine without hops still has a trace to save.
      (e) => {
        if (e instanceof ApiError && e.kind === "unsupported") return undefined;
        throw e;
      },
    ),
  ]);
  const text = formatPortable(new Date().toISOString(), skeleton, hops, otlp);
  download(`trace-${traceId}.json`, text, "application/json");
}
