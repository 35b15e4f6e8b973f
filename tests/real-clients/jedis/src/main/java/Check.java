// Jedis' cluster client: every key, a pipeline over all nodes, a transaction, a redirect out of a stale map.

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Set;
import redis.clients.jedis.DefaultJedisClientConfig;
import redis.clients.jedis.HostAndPort;
import redis.clients.jedis.Jedis;
import redis.clients.jedis.RedisClusterClient;
import redis.clients.jedis.Response;
import redis.clients.jedis.exceptions.JedisMovedDataException;
import redis.clients.jedis.providers.ClusterConnectionProvider;
import redis.clients.jedis.util.JedisClusterCRC16;

public final class Check {
  private static final int KEYS = 10_000;

  /** Gives access to the slot map, so that it can be made stale. */
  private static final class Provider extends ClusterConnectionProvider {
    Provider(HostAndPort seed) {
      super(Set.of(seed), DefaultJedisClientConfig.builder().build());
    }

    void assign(int slot, HostAndPort node) {
      cache.assignSlotToNode(slot, node);
    }
  }

  private static byte[] key(String name) {
    return ("jedis:" + name).getBytes(StandardCharsets.UTF_8);
  }

  /** CR LF, NUL and a byte that is no UTF-8: a value is bytes. */
  private static byte[] value(int number) {
    return (number + "\r\n\0\u00ff" + "x".repeat(number % 100)).getBytes(StandardCharsets.ISO_8859_1);
  }

  private static void expect(String what, boolean holds, Object got) {
    if (!holds) {
      throw new IllegalStateException(what + ": got " + got);
    }
  }

  private static void everyKey(RedisClusterClient client) {
    for (int number = 0; number < KEYS; number++) {
      client.set(key("" + number), value(number));
    }
    for (int number = 0; number < KEYS; number++) {
      byte[] got = client.get(key("" + number));
      expect("key " + number, Arrays.equals(got, value(number)), Arrays.toString(got));
    }
  }

  private static void pipeline(RedisClusterClient client) {
    List<Response<byte[]>> replies = new ArrayList<>();
    try (var pipeline = client.pipelined()) {
      for (int number = 0; number < 1000; number++) {
        replies.add(pipeline.get(key("" + number)));
      }
      pipeline.sync();
    }
    for (int number = 0; number < 1000; number++) {
      byte[] got = replies.get(number).get();
      expect("pipeline, key " + number, Arrays.equals(got, value(number)), Arrays.toString(got));
    }
  }

  /** A cluster client gives no MULTI of its own in this version: it is sent on the connection of the slot. */
  private static void transaction(Provider provider) {
    int slot = JedisClusterCRC16.getSlot("{jedis}:a");
    try (var connection = provider.getConnectionFromSlot(slot); var jedis = new Jedis(connection)) {
      var multi = jedis.multi();
      multi.set("{jedis}:a", "41");
      multi.incr("{jedis}:a");
      multi.get("{jedis}:a");
      List<Object> replies = multi.exec();
      expect("transaction", List.of("OK", 42L, "42").equals(replies), replies);
    }
  }

  private static void staleRedirect(RedisClusterClient client, Provider provider) {
    client.set("jedis:stale", "here");
    int slot = JedisClusterCRC16.getSlot("jedis:stale");
    HostAndPort owner = provider.getNode(slot);
    HostAndPort wrong = provider.getPrimaryNodes().keySet().stream().map(HostAndPort::from)
        .filter(node -> !node.equals(owner)).findFirst().orElseThrow();
    try (var direct = new Jedis(wrong)) {
      String got = direct.get("jedis:stale");
      throw new IllegalStateException("the node that does not own the slot answered " + got);
    } catch (JedisMovedDataException moved) {
      expect("redirect", moved.getSlot() == slot && moved.getTargetNode().equals(owner), moved);
    }
    provider.assign(slot, wrong);
    String got = client.get("jedis:stale");
    expect("value behind a redirect", "here".equals(got), got);
    expect("owner after a redirect", owner.equals(provider.getNode(slot)), provider.getNode(slot));
  }

  public static void main(String[] args) {
    var seed = HostAndPort.from(args[0]);
    var provider = new Provider(seed);
    try (var client = RedisClusterClient.builder().nodes(Set.of(seed)).connectionProvider(provider).build()) {
      everyKey(client);
      pipeline(client);
      transaction(provider);
      staleRedirect(client, provider);
    }
    System.out.println("jedis " + args[1] + ": " + KEYS + " keys, pipeline, transaction, redirect: ok");
  }
}
