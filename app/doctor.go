package app

import (
	"context"
	"time"

	"github.com/spanloom/spanloom/doctor"
	"github.com/spanloom/spanloom/doctor/live"
)

// newDoctor gives the doctor the ledger and the store's state.
func (s *service) newDoctor() *live.Doctor {
	return live.New(live.Options{
		Query: s.query, Now: s.now, Log: s.log,
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
	})
}
