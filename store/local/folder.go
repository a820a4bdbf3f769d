package local

import (
	"path/filepath"

	"github.com/spanloom/spanloom/store"
)

// The folders of a tenant.
const (
	logDir  = "log"
	keptDir = "kept"
	metaDir = "meta"
	segDir  = "seg"
)

func tenantDir(dir string) string { return filepath.Join(dir, store.DefaultTenant) }
