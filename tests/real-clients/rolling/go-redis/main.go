// go-redis' ClusterClient under a steady load, one client shared by goroutines, nothing configured but the addresses.
//
// usage: load HOST:PORT,... OPERATIONS_A_SECOND WORKERS KEYS SEED RECORD   (see ../loads.py for what is expected)
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

const name = "go-redis"

// record is where each operation becomes one line.
type record struct {
	mutex sync.Mutex
	lines *bufio.Writer
	wall  time.Time
}

func (r *record) add(op operation, due, started, ended time.Time, status, reply string) {
	// The reading of the wall clock is taken once; from there on the monotonic one counts.
	micros := func(at time.Time) int64 { return r.wall.UnixMicro() + at.Sub(r.wall).Microseconds() }
	r.mutex.Lock()
	defer r.mutex.Unlock()
	fmt.Fprintf(r.lines, "%s\t%s\t%s\t%d\t%d\t%d\t%s\t%s\n",
		op.kind, op.key, op.argument, micros(due), micros(started), micros(ended), status, reply)
}

type operation struct{ kind, key, argument string }

// worker owns every workers-th key, so that what one key should hold is known without asking another goroutine.
type worker struct {
	client                         *redis.ClusterClient
	number, workers, keys, written int
	interval                       time.Duration
	chance                         *rand.Rand
	record                         *record
}

func (w *worker) run(stop <-chan struct{}) {
	due := time.Now().Add(time.Duration(w.chance.Float64() * float64(w.interval)))
	for ; ; due = due.Add(w.interval) {
		select {
		case <-stop:
			return
		case <-time.After(time.Until(due)):
		}
		select {
		case <-stop:
			return
		default:
		}
		op := w.next()
		started := time.Now()
		status, reply := w.call(op)
		w.record.add(op, due, started, time.Now(), status, reply)
	}
}

func (w *worker) next() operation {
	draw := w.chance.Float64()
	own := (w.keys-w.number-1)/w.workers + 1
	at := w.number + w.workers*w.chance.IntN(own)
	counter, register := fmt.Sprintf("%s:counter:%d", name, at), fmt.Sprintf("%s:register:%d", name, at)
	switch {
	case draw < 0.4:
		return operation{"incr", counter, ""}
	case draw < 0.8:
		w.written++
		return operation{"set", register, fmt.Sprintf("%d.%d", w.number, w.written)}
	case draw < 0.9:
		return operation{"get", register, ""}
	default:
		return operation{"get", counter, ""}
	}
}

func (w *worker) call(op operation) (status, reply string) {
	ctx := context.Background()
	var err error
	switch op.kind {
	case "incr":
		var value int64
		value, err = w.client.Incr(ctx, op.key).Result()
		reply = strconv.FormatInt(value, 10)
	case "set":
		reply, err = w.client.Set(ctx, op.key, op.argument, 0).Result()
	default:
		reply, err = w.client.Get(ctx, op.key).Result()
	}
	if errors.Is(err, redis.Nil) {
		return "nil", ""
	}
	if err != nil {
		return "error", strings.Join(strings.Fields(fmt.Sprintf("%T: %v", err, err)), " ")
	}
	return "ok", reply
}

func run(addresses []string, rate float64, workers, keys int, seed, path string) (err error) {
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: addresses})
	defer client.Close()
	if err := client.Ping(context.Background()).Err(); err != nil {
		return err
	}
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	record := &record{lines: bufio.NewWriter(file), wall: time.Now()}
	defer func() { err = errors.Join(err, record.lines.Flush(), file.Close()) }()
	stop := make(chan struct{})
	var all sync.WaitGroup
	fmt.Printf("ready %s\n", redis.Version())
	for number := range workers {
		hash := fnv.New64a()
		fmt.Fprintf(hash, "%s/%d", seed, number)
		w := &worker{
			client: client, number: number, workers: workers, keys: keys, record: record,
			interval: time.Duration(float64(workers) / rate * float64(time.Second)),
			chance:   rand.New(rand.NewPCG(hash.Sum64(), 0)),
		}
		all.Go(func() { w.run(stop) })
	}
	_, err = io.Copy(io.Discard, os.Stdin)
	close(stop)
	all.Wait()
	return err
}

func main() {
	if len(os.Args) != 7 {
		fmt.Fprintln(os.Stderr, "usage: load HOST:PORT,... OPERATIONS_A_SECOND WORKERS KEYS SEED RECORD")
		os.Exit(2)
	}
	rate, err1 := strconv.ParseFloat(os.Args[2], 64)
	workers, err2 := strconv.Atoi(os.Args[3])
	keys, err3 := strconv.Atoi(os.Args[4])
	if err := errors.Join(err1, err2, err3); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	if err := run(strings.Split(os.Args[1], ","), rate, workers, keys, os.Args[5], os.Args[6]); err != nil {
		fmt.Fprintf(os.Stderr, "go-redis %s: %v\n", redis.Version(), err)
		os.Exit(1)
	}
}
