/** Whether host:port answers on its own machine only. */
export function isLoopback(address: string): boolean {
  return /^(127\.|\[?::1\]?:|localhost:)/.test(address);
}

/** host:port as others can use it: a listener on every address has none of its own, so it gets `host`. */
export function reachable(address: string, host: string): string {
  return address.replace(/^(0\.0\.0\.0|\[::\])(?=:\d+$)/, host);
}
