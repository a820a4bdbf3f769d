/** Copies of accepted spans for other backends, on the Status page. Words that the queue has too stand there. */
export const forward = {
  title: "Copies for other backends",
  help: "Accepted spans are sent on to these backends as well. Copies wait on the disk until they are taken.",
  failing: "The backend does not take spans",
  damaged: "Could not be read",
  refused: "Refused for good and passed over",
  lastRefusal: "Reason of the last refusal",
  dropped: "Not sent: the disk limit was reached",
  unreadable: "Not sent: damaged files",
};
