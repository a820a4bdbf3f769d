package load

// queue is a binary heap of items by a time, earliest first; items of equal time come in any, but always the same, order.
type queue[T any] struct{ items []queued[T] }

type queued[T any] struct {
	at   int64
	item T
}

func (q *queue[T]) len() int { return len(q.items) }

// first is the earliest time; the queue must not be empty.
func (q *queue[T]) first() int64 { return q.items[0].at }

func (q *queue[T]) push(at int64, item T) {
	q.items = append(q.items, queued[T]{at, item})
	i := len(q.items) - 1
	for i > 0 {
		up := (i - 1) / 2
		if q.items[up].at <= q.items[i].at {
			break
		}
		q.items[up], q.items[i] = q.items[i], q.items[up]
		i = up
	}
}

func (q *queue[T]) pop() T {
	top := q.items[0].item
	last := len(q.items) - 1
	q.items[0] = q.items[last]
	q.items[last] = queued[T]{}
	q.items = q.items[:last]
	for i := 0; ; {
		next := 2*i + 1
		if next >= last {
			return top
		}
		if next+1 < last && q.items[next+1].at < q.items[next].at {
			next++
		}
		if q.items[i].at <= q.items[next].at {
			return top
		}
		q.items[i], q.items[next] = q.items[next], q.items[i]
		i = next
	}
}
