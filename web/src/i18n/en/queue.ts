/** Spans that wait before a remote engine, on the Status page. */
export const queue = {
  title: "Queue",
  help: "Spans wait here until the storage engine has them. Until then only this process shows them.",
  failing: "The storage engine does not take spans",
  waiting: "Spans waiting",
  hidden: (n: string) => `${n} of them cannot be read yet`,
  oldest: "Oldest waits for",
  disk: "Disk",
  diskOf: (used: string, limit: string) => `${used} of ${limit}`,
  sent: "Spans sent",
  failures: "Failed attempts",
  poison: "Refused for good and set aside",
  poisonFile: "Newest file of these",
  unreadable: "Lost to damaged files",
};
