/** The TraceQL line. */
export const editor = {
  toggle: "TraceQL",
  toggleHelp: "Show and edit this search as TraceQL",
  label: "Search as TraceQL",
  help: "Enter searches, Shift and Enter starts a new line, Ctrl and Space completes.",
  apply: "Search",
  revert: "Back to what is searched",
  changed: "Not searched yet",
  failed: "The editor did not load. The line below takes TraceQL too.",
  mistake: (line: number, column: number, message: string) => `Line ${line}, column ${column}: ${message}`,
  expected: (text: string) => `Expected: ${text}`,
  metrics: "A metrics query answers with numbers and finds no traces. Leave out the part from | rate() on.",
  unchecked: "The server could not be asked whether this is right; Enter still searches.",
  noForm: (fields: string) => `${fields} has no TraceQL form. Editing here starts without it.`,
  chip: "TraceQL query",
  kinds: {
    field: "field",
    attribute: "attribute",
    value: "value",
    keyword: "keyword",
    function: "function",
  },
};
