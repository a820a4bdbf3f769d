package clickhouse

import (
	"strings"
	"testing"
	"time"
)

// TestSchema has the statements of one server, of each server of a cluster, and of a cluster as a whole.
func TestSchema(t *testing.T) {
	alone, sharded := &Target{Database: "traces"}, &Target{Database: "traces", Cluster: "main"}
	if list := Schema(alone, time.Hour); len(list) != 4 || strings.Contains(strings.Join(list, ""), distributed) {
		t.Errorf("%d statements without a cluster", len(list))
	}
	list := Schema(sharded, time.Hour)
	if len(list) != 5 || !strings.Contains(list[3], "CREATE TABLE IF NOT EXISTS `traces`.spans_distributed AS `traces`.spans\nENGINE = Distributed('main', 'traces', 'spans', TraceLow)\n") {
		t.Errorf("statements %q", list)
	}
	for i, statement := range SchemaOnCluster(sharded, time.Hour) {
		if strings.Count(statement, " ON CLUSTER 'main'") != 1 {
			t.Errorf("not for the whole cluster: %s", statement)
		}
		if engine := []string{"", "\nENGINE = ReplicatedMergeTree\n", "\nENGINE = ReplicatedReplacingMergeTree(Version)\n", "\nENGINE = Distributed(",
			"\nENGINE = ReplicatedReplacingMergeTree(Version)\n"}[i]; !strings.Contains(statement, engine) {
			t.Errorf("no %q in %s", engine, statement)
		}
	}
}
