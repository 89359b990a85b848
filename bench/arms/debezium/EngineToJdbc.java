// Debezium Engine with a consumer that writes to PostgreSQL through JDBC, in the way of Debezium's
// JDBC sink with `use.reduction.buffer`: of each batch the last state of each key, table by table, as
// batched upserts and deletes; here in one transaction of the target for each batch of the engine.
//   java -cp 'LIBRARIES/*' EngineToJdbc.java ENGINE.properties JDBC-URL
import io.debezium.embedded.Connect;
import io.debezium.engine.ChangeEvent;
import io.debezium.engine.DebeziumEngine;
import java.io.FileReader;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.SQLException;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.stream.Collectors;
import org.apache.kafka.connect.data.Field;
import org.apache.kafka.connect.data.Struct;
import org.apache.kafka.connect.source.SourceRecord;

public class EngineToJdbc {
  private final Connection target;
  private final Map<String, PreparedStatement> statements = new HashMap<>();

  private EngineToJdbc(String url) throws SQLException {
    target = DriverManager.getConnection(url);
    target.setAutoCommit(false);
  }

  public static void main(String[] args) throws Exception {
    Properties properties = new Properties();
    try (FileReader reader = new FileReader(args[0])) {
      properties.load(reader);
    }
    EngineToJdbc sink = new EngineToJdbc(args[1]);
    DebeziumEngine<ChangeEvent<SourceRecord, SourceRecord>> engine =
        DebeziumEngine.create(Connect.class)
            .using(properties)
            .using((success, message, error) -> {
              if (success) return;
              System.err.println(message);
              if (error != null) error.printStackTrace();
              Runtime.getRuntime().halt(1);
            })
            .notifying((records, committer) -> {
              try {
                sink.write(records);
              } catch (SQLException error) {
                throw new IllegalStateException(error);
              }
              for (ChangeEvent<SourceRecord, SourceRecord> record : records) {
                committer.markProcessed(record);
              }
              committer.markBatchFinished();
            })
            .build();
    Runtime.getRuntime().addShutdownHook(new Thread(() -> {
      try {
        engine.close();
      } catch (Exception error) {
        error.printStackTrace();
      }
    }));
    engine.run();
  }

  private void write(List<ChangeEvent<SourceRecord, SourceRecord>> records) throws SQLException {
    Map<String, Map<List<Object>, SourceRecord>> last = new LinkedHashMap<>();
    for (ChangeEvent<SourceRecord, SourceRecord> event : records) {
      SourceRecord record = event.value();
      if (record.value() == null || record.key() == null) continue;
      Struct value = (Struct) record.value();
      if (value.schema().field("op") == null) continue; // a heartbeat
      String table = value.getStruct("source").getString("table");
      last.computeIfAbsent(table, name -> new LinkedHashMap<>())
          .put(values((Struct) record.key()), record);
    }
    for (Map.Entry<String, Map<List<Object>, SourceRecord>> table : last.entrySet()) {
      PreparedStatement upsert = null;
      PreparedStatement delete = null;
      for (SourceRecord record : table.getValue().values()) {
        Struct key = (Struct) record.key();
        Struct after = ((Struct) record.value()).getStruct("after");
        if (after == null) {
          delete = statement(deleteOf(table.getKey(), key));
          add(delete, key);
        } else {
          upsert = statement(upsertOf(table.getKey(), key, after));
          add(upsert, after);
        }
      }
      if (delete != null) delete.executeBatch();
      if (upsert != null) upsert.executeBatch();
    }
    target.commit();
  }

  private PreparedStatement statement(String sql) throws SQLException {
    PreparedStatement known = statements.get(sql);
    if (known == null) {
      known = target.prepareStatement(sql);
      statements.put(sql, known);
    }
    return known;
  }

  private static void add(PreparedStatement statement, Struct row) throws SQLException {
    int number = 0;
    for (Object value : values(row)) statement.setObject(++number, value);
    statement.addBatch();
  }

  private static List<Object> values(Struct row) {
    // No List.of: a value may be null.
    return row.schema().fields().stream().map(row::get).collect(Collectors.toList());
  }

  private static String upsertOf(String table, Struct key, Struct row) {
    List<String> columns = names(row);
    List<String> keys = names(key);
    String set = columns.stream()
        .filter(column -> !keys.contains(column))
        .map(column -> column + " = EXCLUDED." + column)
        .collect(Collectors.joining(", "));
    return "INSERT INTO " + table + " (" + String.join(", ", columns) + ") VALUES ("
        + columns.stream().map(column -> "?").collect(Collectors.joining(", "))
        + ") ON CONFLICT (" + String.join(", ", keys) + ") DO "
        + (set.isEmpty() ? "NOTHING" : "UPDATE SET " + set);
  }

  private static String deleteOf(String table, Struct key) {
    return "DELETE FROM " + table + " WHERE "
        + names(key).stream().map(column -> column + " = ?").collect(Collectors.joining(" AND "));
  }

  private static List<String> names(Struct row) {
    return row.schema().fields().stream()
        .map(Field::name)
        .map(name -> '"' + name + '"')
        .collect(Collectors.toList());
  }
}
