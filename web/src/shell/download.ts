/** download hands a text to the browser as a file. */
export function download(name: string, text: string, type: string): void {
  const url = URL.createObjectURL(new Blob([text], { type }));
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  // The browser has the blob by the time the click is done; some read it a little later.
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}
