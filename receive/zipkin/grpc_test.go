package zipkin

import (
	"context"
	"net"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/spanloom/spanloom/receive"
	"github.com/spanloom/spanloom/span"
)

func TestGRPC(t *testing.T) {
	to := &sink{}
	in := newIntake(to)
	srv := grpc.NewServer()
	RegisterGRPC(srv, in)
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(lis) }()
	defer func() { srv.Stop(); <-served }()
	conn, err := grpc.NewClient(lis.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	report := func(body []byte) error {
		request := new(emptypb.Empty)
		request.ProtoReflect().SetUnknown(body)
		return conn.Invoke(context.Background(), "/zipkin.proto3.SpanService/Report", request, new(emptypb.Empty))
	}
	body := []byte(protoBody(t))
	if err := report(body); err != nil {
		t.Fatal(err)
	}
	if err := report(nil); err != nil {
		t.Fatal(err)
	}
	if err := report(append(body, 0x0a, 2, 0x1a, 0)); err != nil { // and a span without ids
		t.Fatal(err)
	}
	if to.spans() != 2 || to.got[0].Sender.String() != "127.0.0.1" {
		t.Fatalf("%d spans from %s", to.spans(), to.got[0].Sender)
	}
	if err := report([]byte{0x0a, 2, 0x1a, 0}); status.Code(err) != codes.InvalidArgument {
		t.Fatal(err)
	}
	if n := in.Ledger.Totals(span.ProtocolZipkin).Refused[receive.BadID]; n != 2 {
		t.Fatalf("%d refusals", n)
	}
	in.Budget = receive.NewBudget(1)
	if err := report(body); status.Code(err) != codes.ResourceExhausted {
		t.Fatal(err)
	}
}
