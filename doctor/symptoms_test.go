package doctor_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/spanloom/spanloom/doctor"
)

// symptom is what somebody sees before the doctor was asked, with the codes that may be behind it, the likeliest first.
type symptom struct {
	title, look             string
	koreanTitle, koreanLook string
	codes                   string
}

// symptoms of docs/users/troubleshooting.md. Every code of the catalog is under one of them at least.
var symptoms = []symptom{
	{"No trace at all", "Nothing asks the proxies for spans. `istioctl proxy-config all POD -o json` has no `tracing` block with a `provider` in any connection manager.",
		"트레이스가 하나도 없습니다", "프록시에 스팬을 만들라고 하는 설정이 없습니다. `istioctl proxy-config all POD -o json` 의 연결 관리자 어디에도 `provider` 가 있는 `tracing` 블록이 없습니다.",
		"T0101 T0102 T0103 T0104 T0105 T0107 T0108 T0109 T0110 T0118 T0120 T0127"},
	{"The proxies say that they send, and nothing arrives", "The tracer is there, and its spans are lost on the way. `pilot-agent request GET clusters` in the pod shows the collector's cluster; `envoy_tracing_opentelemetry_spans_sent` proves nothing.",
		"프록시는 보냈다고 하는데 아무것도 오지 않습니다", "tracer는 있고 스팬이 도중에 사라집니다. 파드 안의 `pilot-agent request GET clusters` 가 컬렉터의 클러스터를 보여 줍니다. `envoy_tracing_opentelemetry_spans_sent` 는 아무것도 증명하지 않습니다.",
		"T0301 T0304 T0309 T0310 T0302 T0306 T0308 T0305 T0311 T0303 T0307 T0312 T0410"},
	{"Only a few requests are traced", "Ten test requests and no trace, or one in a hundred: somebody samples.",
		"요청 가운데 몇 개만 추적됩니다", "시험 요청 열 개에 트레이스가 없거나 백 개에 하나만 보입니다. 어디선가 샘플링합니다.",
		"T0111 T0401 T0402 T0110 T0112 T0122 T0411 T0508"},
	{"One workload is missing", "The others are there. Its row in the trace is empty, or a callee of it begins a trace of its own.",
		"워크로드 하나만 보이지 않습니다", "다른 것은 보입니다. 트레이스에서 그 자리가 비어 있거나, 그 뒤의 호출이 새 트레이스를 시작합니다.",
		"T0203 T0202 T0204 T0205 T0106 T0116 T0117 T0113 T0115 T0302 T0504 T0505"},
	{"One request makes several traces, or half of a trace is elsewhere", "`spanloom why TRACE-ID` says between which two hops it broke.",
		"요청 하나가 여러 트레이스가 되거나, 트레이스의 절반이 다른 곳에 있습니다", "`spanloom why TRACE-ID` 가 어느 두 홉 사이에서 끊겼는지 알려 줍니다.",
		"T0403 T0404 T0405 T0411"},
	{"A change does nothing, or does not last", "What is written is not what istiod reads, or not what the pod was started with.",
		"바꿔도 아무 일이 없거나, 바꾼 것이 되돌아갑니다", "적은 내용을 istiod가 읽지 않거나, 파드가 시작할 때 받은 설정이 다릅니다.",
		"T0117 T0114 T0119 T0120 T0121 T0123 T0124 T0107 T0127 T0201 T0129"},
	{"Requests fail since tracing was set up", "A listener that Envoy refused, or a network policy that cuts more than it should.",
		"트레이싱을 설정한 뒤로 요청이 실패합니다", "Envoy가 거부한 리스너, 또는 뜻한 것보다 많이 막는 네트워크 정책입니다.",
		"T0201 T0412 T0303 T0301 T0103"},
	{"Spanloom refuses spans", "The Status page names sender and reason; `spanloom_refused_total{protocol,reason}` counts them.",
		"Spanloom이 스팬을 거부합니다", "상태 화면에 보낸 쪽과 이유가 나오고, `spanloom_refused_total{protocol,reason}` 이 셉니다.",
		"T0501 T0502 T0503 T0507 T0506"},
	{"Kiali or Grafana shows nothing, Spanloom does", "See also [Kiali](kiali.md) and [Grafana](grafana.md).",
		"Spanloom에는 있는데 Kiali나 Grafana에는 없습니다", "[Kiali](kiali.ko.md)와 [Grafana](grafana.ko.md)도 보십시오.",
		"T0407 T0413 T0126 T0405"},
	{"Spans hold secrets, or cost more than they should", "[Security](security.md) and [sizing](sizing.md) say what is usual.",
		"스팬에 비밀이 남거나, 비용이 너무 큽니다", "무엇이 보통인지는 [보안](security.ko.md)과 [용량 산정](sizing.ko.md)에 있습니다.",
		"T0406 T0409 T0408 T0129 T0508"},
	{"The doctor says unknown", "It was not given, or could not read, what it needs; nothing is guessed.",
		"닥터가 unknown이라고 합니다", "필요한 것을 받지 못했거나 읽지 못했습니다. 닥터는 짐작하지 않습니다.",
		"T0128 T0125 T0410"},
}

// bySymptom is the generated part of the troubleshooting page: a table for each symptom.
func bySymptom(t *testing.T, korean bool) string {
	t.Helper()
	var b strings.Builder
	listed := make(map[string]bool)
	for _, s := range symptoms {
		title, look, head, folder := s.title, s.look, "| code | what is wrong | what to do |", "../findings/"
		if korean {
			title, look, head, folder = s.koreanTitle, s.koreanLook, "| 코드 | 무엇이 문제인지 | 무엇을 할지 |", "../findings/ko/"
		}
		fmt.Fprintf(&b, "## %s\n\n%s\n\n%s\n| --- | --- | --- |\n", title, look, head)
		for code := range strings.FieldsSeq(s.codes) {
			e := doctor.Lookup(code)
			if e.Code == "" {
				t.Fatalf("symptom %q names %s, which the catalog does not have", s.title, code)
			}
			listed[code] = true
			what, fix := e.Title, e.Fix
			if korean {
				k := doctor.InKorean(code)
				what, fix = k.Title, k.Fix
			}
			fmt.Fprintf(&b, "| [%s](%s%s.md) `%s` | %s | %s |\n", code, folder, code, e.Cause, cell(what), cell(fix))
		}
		b.WriteString("\n")
	}
	for _, e := range doctor.Catalog() {
		if !listed[e.Code] {
			t.Errorf("%s %s is under no symptom: add it to symptoms", e.Code, e.Cause)
		}
	}
	return b.String()
}

// cell keeps a text within its column.
func cell(text string) string { return strings.ReplaceAll(text, "|", "\\|") }
