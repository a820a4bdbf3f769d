/** Whether host:port answers on its own machine only. */
export function isLoopback(address: string): boolean {
  return /^(127\.|\[?::1\]?:|localhost:)/.test(address);
}
