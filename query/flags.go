package query

// ResponseFlag is one of Envoy's response flags in words.
type ResponseFlag struct {
	Meaning string // what happened
	Cause   string // what usually is the reason, and where to look
}

// FlagWords explains a response flag; an unknown one has no words.
func FlagWords(flag string) ResponseFlag { return responseFlags[flag] }

// responseFlags are the flags that Envoy knows.
var responseFlags = map[string]ResponseFlag{
	"DC":    {"the caller closed the connection before the answer", "the caller's timeout is shorter than the call takes, or it was restarted"},
	"DF":    {"the name of the host could not be resolved", "wrong host in a ServiceEntry, or cluster DNS does not answer"},
	"DI":    {"a delay was injected", "a VirtualService has fault.delay for this route"},
	"DO":    {"the request was dropped on purpose", "the endpoint discovery service asked to drop a share of the load"},
	"DPE":   {"the request was not valid HTTP", "the client speaks another protocol than the port's name says"},
	"DR":    {"the caller's connection was reset", "the caller or a proxy before it broke the connection"},
	"DT":    {"the request or connection lasted longer than allowed", "max connection duration or the route's maximum stream duration"},
	"FI":    {"an error was injected", "a VirtualService has fault.abort for this route"},
	"IH":    {"a header that must be well-formed was not", "the request was refused by strict header checks"},
	"LH":    {"the own health check failed", "the local service is marked unhealthy"},
	"LR":    {"the proxy reset the request itself", "a filter or a stopping proxy ended it"},
	"NC":    {"the route names a cluster that does not exist", "the destination of a VirtualService has no service, or configuration has not arrived yet"},
	"NFCF":  {"a filter had no configuration", "an extension (WasmPlugin, EnvoyFilter) has not arrived yet"},
	"NR":    {"no route matched the request", "host or path is not in any VirtualService or Gateway, or the port's protocol is misnamed"},
	"OM":    {"the overload manager ended the request", "the proxy is short of memory or connections"},
	"RFCF":  {"the answer came out of a cache filter", "nothing is wrong"},
	"RL":    {"the request was rate-limited", "a local or global rate limit filter refused it"},
	"RLSE":  {"the rate limit service failed", "the rate limit service is down or slow"},
	"SI":    {"the stream was idle for too long", "stream idle timeout; a long poll without data"},
	"UAEX":  {"external authorisation refused the request", "the authorisation service answered no, or did not answer"},
	"UC":    {"the connection to the server broke before the answer", "the server closed it: keep-alive shorter than the proxy's, a restart, or a crash"},
	"UF":    {"the connection to the server could not be made", "nothing listens on that port, a NetworkPolicy is in the way, or TLS settings of both sides do not fit"},
	"UH":    {"no healthy server was left", "no ready pod, all were ejected by outlier detection, or the subset's labels match none"},
	"UMSDR": {"the request lasted longer than its maximum duration", "the route's maximum stream duration"},
	"UO":    {"too many requests or connections were open", "connectionPool limits of a DestinationRule (circuit breaker)"},
	"UPE":   {"the server's answer was not valid HTTP", "the server speaks another protocol than the port's name says"},
	"UR":    {"the server reset the request", "the server or its proxy broke off: overload, restart, or an HTTP/2 error"},
	"URX":   {"all tries were used up", "the retries of the route all failed; the flag beside it says how"},
	"UT":    {"the server did not answer in time", "the timeout of the route or of the caller is shorter than the call takes"},
}
