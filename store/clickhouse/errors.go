package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/ClickHouse/ch-go"
	"github.com/ClickHouse/ch-go/proto"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/store/remote"
)

// fatal are the codes of what a person must mend, with what to do.
var fatal = map[proto.Error]string{
	proto.ErrAuthenticationFailed:       "check user and password of --clickhouse-dsn",
	proto.ErrWrongPassword:              "check the password of --clickhouse-dsn",
	proto.ErrRequiredPassword:           "give a password: in a file named by ?password_file= or in SPANLOOM_CLICKHOUSE_PASSWORD",
	proto.ErrUnknownUser:                "check the user of --clickhouse-dsn",
	proto.ErrAccessDenied:               "grant the user SELECT and INSERT on the database, and CREATE TABLE or apply `spanloom store schema` yourself",
	proto.ErrReadonly:                   "the user may only read: give it a profile without readonly (readonly=2 is enough for a process that only answers questions)",
	proto.ErrUnknownDatabase:            "create the database, or grant CREATE DATABASE",
	proto.ErrDatabaseAccessDenied:       "grant the user rights on the database",
	proto.ErrUnknownTable:               "the tables are gone: restart Spanloom, or apply `spanloom store schema`",
	proto.ErrNoSuchColumnInTable:        "the table is not the one of this version: compare it with `spanloom store schema`",
	proto.ErrThereIsNoColumn:            "the table is not the one of this version: compare it with `spanloom store schema`",
	proto.ErrUnknownIdentifier:          "the table is not the one of this version: compare it with `spanloom store schema`",
	proto.ErrUnknownSetting:             "the server may be older than Spanloom needs: it is tested with 26.7",
	proto.ErrUnknownFunction:            "the server may be older than Spanloom needs: it is tested with 26.7",
	proto.ErrIPAddressNotAllowed:        "allow this machine's address for the user",
	proto.ErrQuotaExpired:               "raise the user's quota",
	proto.ErrSettingConstraintViolation: "the user's profile pins a setting that Spanloom needs",
}

// poison are the codes of a batch that the server cannot read.
var poison = []proto.Error{proto.ErrIncorrectData, proto.ErrTypeMismatch, proto.ErrCannotReadAllData, proto.ErrTooLargeStringSize,
	proto.ErrTooLargeArraySize, proto.ErrUnknownTypeOfQuery, proto.ErrSizesOfArraysDoesntMatch, proto.ErrIllegalColumn,
	proto.ErrNumberOfColumnsDoesntMatch, proto.ErrSizesOfColumnsDoesntMatch, proto.ErrSizesOfColumnsInTupleDoesntMatch,
	proto.ErrCannotConvertType, proto.ErrUnknownCodec, proto.ErrArgumentOutOfBound, proto.ErrDecimalOverflow, proto.ErrTooManyPartitions}

// ClassOf judges the error of an insert.
func ClassOf(err error) remote.Class {
	var e *ch.Exception
	if !errors.As(err, &e) {
		return remote.Retry
	}
	if _, ok := fatal[e.Code]; ok {
		return remote.Fatal
	}
	if e.IsCode(poison...) {
		return remote.Poison
	}
	return remote.Retry
}

// Away reports whether an error says that no server was reached, or that one is busy: the same may go well later without anybody's doing.
func Away(err error) bool {
	if p := (*problem.Problem)(nil); errors.As(err, &p) && p.Kind == problem.Overloaded {
		return true
	}
	var network net.Error
	return errors.As(err, &network) || errors.Is(err, io.EOF) || errors.Is(err, context.DeadlineExceeded)
}

// explain makes of an error of the client what callers and people can act on. Errors of the context stay as they are.
func explain(ctx context.Context, what string, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return fmt.Errorf("%s: %w", what, ctx.Err())
	}
	var known *problem.Problem
	if errors.As(err, &known) {
		return err
	}
	if of := (*fault)(nil); errors.As(err, &of) {
		what, err = what+of.shard.at(), of.err
	}
	p := &problem.Problem{Kind: problem.Unavailable, Message: what, Err: err, RetryAfter: time.Second}
	var e *ch.Exception
	var network net.Error
	switch {
	case errors.As(err, &e):
		p.Err = fmt.Errorf("ClickHouse says %s (code %d): %.500s", e.Name, int(e.Code), e.Message)
		switch ClassOf(err) {
		case remote.Fatal:
			p.Hint, p.RetryAfter = fatal[e.Code], time.Minute
		case remote.Poison:
			p.Kind, p.Hint = problem.Invalid, "the server cannot take this batch"
		}
		switch e.Code {
		case proto.ErrMemoryLimitExceeded, proto.ErrTooManySimultaneousQueries, proto.ErrTooManyParts:
			p.Kind, p.Hint = problem.Overloaded, "the server is busy"
		case proto.ErrNotEnoughSpace:
			p.Hint = "the server's disk is full: free room or shorten --retention"
		case proto.ErrTimeoutExceeded:
			p.Hint = "narrow the time range, or raise the user's max_execution_time"
		}
	case errors.As(err, &network):
		p.Hint = "check that the server runs and that host and port (native protocol: 9000, with TLS 9440) are right"
	}
	return p
}
