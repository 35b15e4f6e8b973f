// go-redis' ClusterClient: every key, a pipeline over all nodes, a transaction, redirects out of a stale map.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

const keys = 10_000

// value has CR LF, NUL and a byte that is no UTF-8: a value is bytes.
func value(number int) []byte {
	return append([]byte(fmt.Sprintf("%d\r\n\x00\xff", number)), bytes.Repeat([]byte("x"), number%100)...)
}

func everyKey(ctx context.Context, client *redis.ClusterClient) error {
	for number := range keys {
		if err := client.Set(ctx, fmt.Sprintf("go-redis:%d", number), value(number), 0).Err(); err != nil {
			return err
		}
	}
	for number := range keys {
		got, err := client.Get(ctx, fmt.Sprintf("go-redis:%d", number)).Bytes()
		if err != nil {
			return err
		}
		if !bytes.Equal(got, value(number)) {
			return fmt.Errorf("key %d: got %q", number, got)
		}
	}
	return nil
}

func pipeline(ctx context.Context, client *redis.ClusterClient) error {
	replies, err := client.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		for number := range 1000 {
			pipe.Get(ctx, fmt.Sprintf("go-redis:%d", number))
		}
		return nil
	})
	if err != nil {
		return err
	}
	for number, reply := range replies {
		if got, _ := reply.(*redis.StringCmd).Bytes(); !bytes.Equal(got, value(number)) {
			return fmt.Errorf("pipeline: key %d: got %q", number, got)
		}
	}
	return nil
}

func transaction(ctx context.Context, client *redis.ClusterClient) error {
	var sum *redis.IntCmd
	err := client.Watch(ctx, func(tx *redis.Tx) error {
		_, err := tx.TxPipelined(ctx, func(pipe redis.Pipeliner) error {
			pipe.Set(ctx, "{go-redis}:a", 41, 0)
			sum = pipe.Incr(ctx, "{go-redis}:a")
			return nil
		})
		return err
	}, "{go-redis}:a")
	if err != nil {
		return err
	}
	if sum.Val() != 42 {
		return fmt.Errorf("transaction: got %d", sum.Val())
	}
	return nil
}

// staleRedirects uses a client whose slot map is rotated by one node: every command is redirected.
func staleRedirects(ctx context.Context, client *redis.ClusterClient, seeds []string) error {
	slots, err := client.ClusterSlots(ctx).Result()
	if err != nil {
		return err
	}
	wrong := make([]redis.ClusterSlot, len(slots))
	for at, slot := range slots {
		other := slots[(at+1)%len(slots)]
		for _, candidate := range slots {
			if candidate.Nodes[0].Addr != slot.Nodes[0].Addr {
				other = candidate
			}
		}
		wrong[at] = redis.ClusterSlot{Start: slot.Start, End: slot.End, Nodes: other.Nodes}
	}
	stale := redis.NewClusterClient(&redis.ClusterOptions{
		Addrs:        seeds,
		ClusterSlots: func(context.Context) ([]redis.ClusterSlot, error) { return wrong, nil },
	})
	defer stale.Close()
	direct := redis.NewClient(&redis.Options{Addr: wrong[0].Nodes[0].Addr})
	defer direct.Close()
	for number := range 200 {
		key := fmt.Sprintf("go-redis:%d", number)
		got, err := stale.Get(ctx, key).Bytes()
		if err != nil || !bytes.Equal(got, value(number)) {
			return fmt.Errorf("redirect of key %d: got %q, %v", number, got, err)
		}
		slot, err := client.ClusterKeySlot(ctx, key).Result()
		if err == nil && int(slot) >= wrong[0].Start && int(slot) <= wrong[0].End {
			if err := direct.Get(ctx, key).Err(); err == nil || !strings.HasPrefix(err.Error(), "MOVED ") {
				return fmt.Errorf("the node that does not own slot %d answered: %v", slot, err)
			}
		}
	}
	return nil
}

func run(seeds []string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: seeds})
	defer client.Close()
	return errors.Join(everyKey(ctx, client), pipeline(ctx, client), transaction(ctx, client), staleRedirects(ctx, client, seeds))
}

func main() {
	if err := run(strings.Split(os.Args[1], ",")); err != nil {
		fmt.Fprintf(os.Stderr, "go-redis %s: %v\n", redis.Version(), err)
		os.Exit(1)
	}
	fmt.Printf("go-redis %s: %d keys, pipeline, transaction, redirects: ok\n", redis.Version(), keys)
}
