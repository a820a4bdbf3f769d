package clickhouse

// typedColumn is an attribute of spans that has a column of its own in the schema.
type typedColumn struct {
	key, name string
	texts     bool // String; else LowCardinality(String)
}

// typedColumns are the attributes that Envoy, Istio and SDKs send with most spans and that people search and filter by. Their
// order is that of the schema.
var typedColumns = [...]typedColumn{
	{"component", "attr_component", false},
	{"node_id", "attr_node_id", false},
	{"zone", "attr_zone", false},
	{"http.url", "attr_http_url", true},
	{"http.method", "attr_http_method", false},
	{"http.status_code", "attr_http_status_code", false},
	{"http.protocol", "attr_http_protocol", false},
	{"http.route", "attr_http_route", false},
	{"http.target", "attr_http_target", true},
	{"http.request.method", "attr_http_request_method", false},
	{"http.response.status_code", "attr_http_response_status_code", false},
	{"url.full", "attr_url_full", true},
	{"url.path", "attr_url_path", true},
	{"user_agent", "attr_user_agent", false},
	{"request_size", "attr_request_size", true},
	{"response_size", "attr_response_size", true},
	{"response_flags", "attr_response_flags", false},
	{"error", "attr_error", false},
	{"downstream_cluster", "attr_downstream_cluster", false},
	{"upstream_cluster", "attr_upstream_cluster", false},
	{"upstream_cluster.name", "attr_upstream_cluster_name", false},
	{"upstream_address", "attr_upstream_address", false},
	{"peer.address", "attr_peer_address", false},
	{"peer.service", "attr_peer_service", false},
	{"guid:x-request-id", "attr_guid_x_request_id", true},
	{"istio.mesh_id", "attr_istio_mesh_id", false},
	{"istio.cluster_id", "attr_istio_cluster_id", false},
	{"istio.namespace", "attr_istio_namespace", false},
	{"istio.canonical_service", "attr_istio_canonical_service", false},
	{"istio.canonical_revision", "attr_istio_canonical_revision", false},
	{"grpc.status_code", "attr_grpc_status_code", false},
	{"grpc.path", "attr_grpc_path", false},
	{"grpc.authority", "attr_grpc_authority", false},
	{"rpc.system", "attr_rpc_system", false},
	{"rpc.service", "attr_rpc_service", false},
	{"rpc.method", "attr_rpc_method", false},
	{"server.address", "attr_server_address", false},
	{"server.port", "attr_server_port", false},
	{"net.peer.name", "attr_net_peer_name", false},
	{"net.peer.port", "attr_net_peer_port", false},
	{"db.system", "attr_db_system", false},
	{"db.name", "attr_db_name", false},
	{"messaging.system", "attr_messaging_system", false},
	{"messaging.destination.name", "attr_messaging_destination_name", false},
}
