package app

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/spanloom/spanloom/internal/problem"
)

// role is what a token may do; admin may everything.
type role uint8

const (
	roleIngest role = 1 << iota
	roleRead
	roleAdmin role = 1<<iota | roleIngest | roleRead
)

var roles = map[string]role{"ingest": roleIngest, "read": roleRead, "admin": roleAdmin}

// tokens are the bearer tokens of --auth-token-file. They are compared by hash in constant time and exchanged on SIGHUP.
// No file means that everything is open.
type tokens struct {
	file  string
	table atomic.Pointer[[]token]
}

type token struct {
	hash [sha256.Size]byte
	role role
}

func loadTokens(file string) (*tokens, error) {
	t := &tokens{file: file}
	return t, t.reload()
}

// on reports whether tokens are asked for at all.
func (t *tokens) on() bool { return t.file != "" }

// reload reads the file again; on error the old tokens stay.
func (t *tokens) reload() error {
	if !t.on() {
		return nil
	}
	data, err := os.ReadFile(t.file)
	if err != nil {
		return fmt.Errorf("read auth-token-file: %w", err)
	}
	var table []token
	lines := bufio.NewScanner(bytes.NewReader(data))
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		fields := strings.Fields(line)
		if len(fields) != 2 {
			return fmt.Errorf("%s:%d: a line is `role token`, this one has %d words", t.file, n, len(fields))
		}
		r, ok := roles[fields[0]]
		if !ok {
			return fmt.Errorf("%s:%d: role %q is none of ingest, read, admin", t.file, n, fields[0])
		}
		if len(fields[1]) < 16 {
			return fmt.Errorf("%s:%d: token of %d characters: use at least 16", t.file, n, len(fields[1]))
		}
		table = append(table, token{sha256.Sum256([]byte(fields[1])), r})
	}
	if len(table) == 0 {
		return fmt.Errorf("%s holds no token: nobody could do anything", t.file)
	}
	t.table.Store(&table)
	return nil
}

// allow checks an Authorization header for a role. nil is yes.
func (t *tokens) allow(header string, need role) *problem.Problem {
	scheme, value, _ := strings.Cut(header, " ")
	if !strings.EqualFold(scheme, "bearer") || value == "" {
		return problem.New(problem.Unauthenticated, "no bearer token", "send `Authorization: Bearer TOKEN` with a token of --auth-token-file")
	}
	hash := sha256.Sum256([]byte(strings.TrimSpace(value)))
	var have role
	for _, k := range *t.table.Load() {
		if subtle.ConstantTimeCompare(k.hash[:], hash[:]) == 1 {
			have |= k.role
		}
	}
	switch {
	case have == 0:
		return problem.New(problem.Unauthenticated, "unknown bearer token", "check the token against --auth-token-file")
	case have&need != need:
		return problem.New(problem.Forbidden, "the token's role does not allow this", "use a token of another role")
	default:
		return nil
	}
}

// httpGuard asks for a role before next; preflight requests pass, browsers send them without credentials.
func (t *tokens) httpGuard(need role, next http.Handler, refused func(*http.Request, *problem.Problem)) http.Handler {
	if !t.on() {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodOptions {
			next.ServeHTTP(w, r)
			return
		}
		if p := t.allow(r.Header.Get("Authorization"), need); p != nil {
			if refused != nil {
				refused(r, p)
			}
			if p.Kind == problem.Unauthenticated {
				w.Header().Set("WWW-Authenticate", `Bearer realm="spanloom"`)
			}
			writeProblem(w, p)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// grpcGuard is httpGuard for unary calls.
func (t *tokens) grpcGuard(need role, refused func(context.Context, *problem.Problem)) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		if strings.HasPrefix(info.FullMethod, "/grpc.health.") {
			return handler(ctx, req)
		}
		if p := t.allow(grpcAuthorization(ctx), need); p != nil {
			if refused != nil {
				refused(ctx, p)
			}
			return nil, status.Error(p.Kind.GRPCCode(), p.Error())
		}
		return handler(ctx, req)
	}
}

func grpcAuthorization(ctx context.Context) string {
	if v := metadata.ValueFromIncomingContext(ctx, "authorization"); len(v) > 0 {
		return v[0]
	}
	return ""
}

// grpcQueryGuard asks calls of a query service for read, and for admin where a trace is kept. Health and reflection are open.
func (t *tokens) grpcQueryGuard() []grpc.ServerOption {
	check := func(ctx context.Context, method string) error {
		if strings.HasPrefix(method, "/grpc.") {
			return nil
		}
		need := roleRead
		if strings.HasSuffix(method, "/ArchiveTrace") {
			need = roleAdmin
		}
		if p := t.allow(grpcAuthorization(ctx), need); p != nil {
			return status.Error(p.Kind.GRPCCode(), p.Error())
		}
		return nil
	}
	return []grpc.ServerOption{
		grpc.UnaryInterceptor(func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
			if err := check(ctx, info.FullMethod); err != nil {
				return nil, err
			}
			return handler(ctx, req)
		}),
		grpc.StreamInterceptor(func(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
			if err := check(stream.Context(), info.FullMethod); err != nil {
				return err
			}
			return handler(srv, stream)
		}),
	}
}

// writeProblem answers in the own API's error form.
func writeProblem(w http.ResponseWriter, p *problem.Problem) {
	w.Header().Set("Content-Type", "application/json")
	if p.Kind.Retryable() {
		w.Header().Set("Retry-After", fmt.Sprint(int(p.Retry().Seconds()+0.999)))
	}
	w.WriteHeader(p.Kind.HTTPStatus())
	_ = json.NewEncoder(w).Encode(map[string]any{"error": map[string]string{
		"kind": p.Kind.String(), "message": p.Message, "hint": p.Hint, "field": p.Field,
	}}) // the client is gone if this fails
}
