package app

import (
	"context"
	"time"

	"github.com/spanloom/spanloom/config"
	"github.com/spanloom/spanloom/doctor"
	"github.com/spanloom/spanloom/doctor/collect"
	"github.com/spanloom/spanloom/doctor/live"
)

// newDoctor gives the mesh screen its cluster, and the doctor the ledger, the store's state, and the cluster if there is one.
func (s *service) newDoctor() (*live.Doctor, error) {
	o := live.Options{
		Query: s.query, Now: s.now, Log: s.log,
		Istio: s.config.IstioNamespace, Meta: s.engine, CompareAndSet: s.engine.Can().CompareAndSet, Replica: replica(),
		Dropped:  func() float64 { return 100 - s.steps.Rules().SamplePercent },
		Refusing: func() string { return s.engine.Stats().Refusing },
		Receipts: func(ctx context.Context, from, to time.Time) ([]doctor.Receipt, error) {
			rows, err := s.ledger.Receipts(ctx, s.documents, from, to)
			if err != nil {
				return nil, err
			}
			out := make([]doctor.Receipt, len(rows))
			for i, r := range rows {
				out[i] = doctor.Receipt{Workload: r.Workload, Protocol: r.Protocol, Sender: r.Sender, Spans: r.Spans, Requests: r.Requests, Last: r.Last,
					Refused: texts(r.Refused), Misuses: texts(r.Misuses)}
			}
			return out, nil
		},
	}
	client, err := s.connect()
	if client != nil {
		o.Cluster = client
		s.log.Info("the doctor reads a cluster", "server", client.Server())
	}
	d := live.New(o)
	if err != nil {
		return d, err
	}
	s.mesh, err = newMesh(d, client)
	return d, err
}

// connect finds the cluster to read; nil for none. Nobody's own ~/.kube/config is used by a server.
func (s *service) connect() (*collect.Client, error) {
	switch {
	case s.config.Kubeconfig == config.Off:
		return nil, nil
	case s.config.Kubeconfig != "":
		return collect.Connect(s.config.Kubeconfig)
	case collect.InCluster():
		return collect.ConnectInCluster()
	}
	return nil, nil
}
