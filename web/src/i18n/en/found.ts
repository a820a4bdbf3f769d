const s = (n: number) => (n === 1 ? "" : "s");

/** The list while it comes in, and what can be done with it. */
export const found = {
  running: (n: number, text: string) => `${text} trace${s(n)} so far`,
  stop: "Stop",
  stopped: "Stopped by hand; older traces may be missing.",
  blocks: (read: string, of: string) => `${read} of ${of} blocks read`,
  export: "Export",
  exportHelp: (n: number, text: string) => `The ${text} trace${s(n)} that are loaded`,
  asJson: "JSON file",
  asCsv: "CSV file",
  maybeDoctor: "Find out why with the doctor",
  traceqlEmpty: "Spans do arrive, but no trace meets this TraceQL query in this time range.",
  editQuery: "Edit the query",
};
