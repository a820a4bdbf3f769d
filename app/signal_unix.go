//go:build unix

package app

import (
	"context"
	"maps"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// watchEvery is how often the files that can be taken over while running are looked at. Kubernetes exchanges mounted
// secrets by a symbolic link, which notifications miss more often than a look at the time of change does.
const watchEvery = 5 * time.Second

// reloadOnSignal takes over changed files, on SIGHUP or when their time of change does.
func (s *service) reloadOnSignal(ctx context.Context) {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	seen := s.stamps()
	for {
		select {
		case <-ctx.Done():
			return
		case <-hup:
		case <-tick.C:
			if maps.Equal(seen, s.stamps()) {
				continue
			}
		}
		seen = s.stamps()
		if err := s.reload(); err != nil {
			s.log.Error("reload refused, everything stays as it was", "error", err)
		} else {
			s.log.Info("certificates, tokens and rules were read again; all other settings need a restart")
		}
	}
}

// stamps are the times of change of the files that reload reads.
func (s *service) stamps() map[string]time.Time {
	files := []string{s.config.File, s.config.AuthTokenFile}
	for _, c := range s.certs {
		files = append(files, c.files.Cert, c.files.Key, c.files.ClientCA)
	}
	out := make(map[string]time.Time)
	for _, name := range files {
		if info, err := os.Stat(name); name != "" && err == nil {
			out[name] = info.ModTime()
		}
	}
	return out
}

// volumeBytes is the size of the volume that holds a folder, 0 if it cannot be told.
func volumeBytes(dir string) int64 {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return 0
	}
	return int64(st.Blocks) * int64(st.Bsize)
}
