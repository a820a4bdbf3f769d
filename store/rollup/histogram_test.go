package rollup

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestHistogram(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	for _, n := range []int{1, 2, 31, 32, 33, 5000} {
		var all, left, right Histogram
		var values []int64
		for i := range n {
			v := int64(math.Exp(r.NormFloat64()*2 + 14))
			values = append(values, v)
			all.Add(v, 1)
			if i%2 == 0 {
				left.Add(v, 1)
			} else {
				right.Add(v, 1)
			}
		}
		left.Merge(&right)
		left.Merge(&Histogram{})
		p := left.appendBinary(nil)
		var back Histogram
		rd := &reader{p: p}
		if back.decode(rd); rd.err != nil || len(rd.p) != 0 {
			t.Fatalf("n=%d: %v, %d bytes left", n, rd.err, len(rd.p))
		}
		slices.Sort(values)
		for _, q := range []float64{0.01, 0.5, 0.9, 0.99, 1} {
			want := values[max(int(math.Ceil(q*float64(n)))-1, 0)]
			for name, h := range map[string]*Histogram{"all": &all, "merged": &left, "decoded": &back} {
				if got := h.Quantile(q); math.Abs(float64(got-want)) > float64(want)/64 {
					t.Errorf("n=%d %s: quantile %g is %d, want %d", n, name, q, got, want)
				}
			}
		}
		if back.Min() != values[0] || back.Max() != values[n-1] || back.Total() != float64(n) {
			t.Errorf("n=%d: %d..%d total %g", n, back.Min(), back.Max(), back.Total())
		}
		middle := values[n/2]
		if got, want := all.AtMost(middle), float64(n/2+1); math.Abs(got-want) > 1+float64(n)/20 {
			t.Errorf("n=%d: %g at most %d, want about %g", n, got, middle, want)
		}
	}
	if (&Histogram{}).Quantile(0.5) != 0 {
		t.Error("quantile of nothing")
	}
	var h Histogram
	for _, v := range []int64{math.MaxInt64, 0, -5, 1} {
		h.Add(v, 0.5)
	}
	if h.Min() != 0 || h.Max() != math.MaxInt64 || h.Quantile(1) != math.MaxInt64 {
		t.Errorf("extremes: %d..%d", h.Min(), h.Max())
	}
}

func TestHistogramBuckets(t *testing.T) {
	last := -1
	for v := int64(0); v < 1<<20; v++ {
		i := bucketOf(v)
		if i != last && i != last+1 {
			t.Fatalf("%d is in bucket %d after %d", v, i, last)
		}
		if bucketOf(bucketMiddle(i)) != i || bucketOf(bucketLow(i)) != i {
			t.Fatalf("the middle of bucket %d is in bucket %d", i, bucketOf(bucketMiddle(i)))
		}
		last = i
	}
	if bucketOf(math.MaxInt64) != maxBucket {
		t.Errorf("the last bucket is %d", bucketOf(math.MaxInt64))
	}
}
