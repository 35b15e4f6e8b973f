// Lettuce' cluster client: every key, a pipeline over all nodes, a transaction, a redirect out of a stale map.

import io.lettuce.core.LettuceFutures;
import io.lettuce.core.RedisClient;
import io.lettuce.core.RedisCommandExecutionException;
import io.lettuce.core.RedisFuture;
import io.lettuce.core.RedisURI;
import io.lettuce.core.TransactionResult;
import io.lettuce.core.cluster.RedisClusterClient;
import io.lettuce.core.cluster.SlotHash;
import io.lettuce.core.cluster.api.StatefulRedisClusterConnection;
import io.lettuce.core.cluster.models.partitions.RedisClusterNode;
import io.lettuce.core.codec.ByteArrayCodec;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

public final class Check {
  private static final int KEYS = 10_000;

  private static byte[] key(String name) {
    return name.getBytes(StandardCharsets.UTF_8);
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

  private static void everyKey(StatefulRedisClusterConnection<byte[], byte[]> connection) {
    var commands = connection.sync();
    for (int number = 0; number < KEYS; number++) {
      commands.set(key("lettuce:" + number), value(number));
    }
    for (int number = 0; number < KEYS; number++) {
      byte[] got = commands.get(key("lettuce:" + number));
      expect("key " + number, Arrays.equals(got, value(number)), Arrays.toString(got));
    }
  }

  private static void pipeline(StatefulRedisClusterConnection<byte[], byte[]> connection) throws Exception {
    connection.setAutoFlushCommands(false);
    List<RedisFuture<byte[]>> replies = new ArrayList<>();
    for (int number = 0; number < 1000; number++) {
      replies.add(connection.async().get(key("lettuce:" + number)));
    }
    connection.flushCommands();
    connection.setAutoFlushCommands(true);
    var all = replies.toArray(new RedisFuture<?>[0]);
    expect("pipeline", LettuceFutures.awaitAll(Duration.ofSeconds(30), all), "no replies");
    for (int number = 0; number < 1000; number++) {
      expect("pipeline, key " + number, Arrays.equals(replies.get(number).get(), value(number)), number);
    }
  }

  private static void transaction(StatefulRedisClusterConnection<byte[], byte[]> connection) {
    var node = connection.getPartitions().getPartitionBySlot(SlotHash.getSlot("{lettuce}:a"));
    var commands = connection.getConnection(node.getNodeId()).sync();
    commands.multi();
    commands.set(key("{lettuce}:a"), key("41"));
    commands.incr(key("{lettuce}:a"));
    TransactionResult replies = commands.exec();
    expect("transaction", replies.size() == 2 && Long.valueOf(42).equals(replies.get(1)), replies);
  }

  private static void staleRedirect(StatefulRedisClusterConnection<byte[], byte[]> connection) {
    var commands = connection.sync();
    commands.set(key("lettuce:stale"), key("here"));
    int slot = SlotHash.getSlot("lettuce:stale");
    var partitions = connection.getPartitions();
    RedisClusterNode owner = partitions.getPartitionBySlot(slot);
    RedisClusterNode wrong = partitions.stream().filter(node -> !node.getNodeId().equals(owner.getNodeId()))
        .findFirst().orElseThrow();
    try (var direct = RedisClient.create(wrong.getUri())) {
      String got = direct.connect().sync().get("lettuce:stale");
      throw new IllegalStateException("the node that does not own the slot answered " + got);
    } catch (RedisCommandExecutionException moved) {
      expect("redirect", moved.getMessage().startsWith("MOVED " + slot + " "), moved.getMessage());
    }
    var fewer = new ArrayList<>(owner.getSlots());
    fewer.remove(Integer.valueOf(slot));
    var more = new ArrayList<>(wrong.getSlots());
    more.add(slot);
    owner.setSlots(fewer);
    wrong.setSlots(more);
    partitions.updateCache();
    var believed = partitions.getPartitionBySlot(slot).getNodeId();
    expect("stale map", believed.equals(wrong.getNodeId()), believed);
    byte[] got = commands.get(key("lettuce:stale"));
    expect("value behind a redirect", Arrays.equals(got, key("here")), Arrays.toString(got));
  }

  public static void main(String[] args) throws Exception {
    try (var client = RedisClusterClient.create(RedisURI.create("redis://" + args[0]));
        var connection = client.connect(ByteArrayCodec.INSTANCE)) {
      everyKey(connection);
      pipeline(connection);
      transaction(connection);
      staleRedirect(connection);
    }
    System.out.println("lettuce " + args[1] + ": " + KEYS + " keys, pipeline, transaction, redirect: ok");
  }
}
