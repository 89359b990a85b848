import { describe, expect, it } from "vitest";
import { parseAddress } from "./address.ts";
import { shortestFloat32, trimFraction, utcTimestamp } from "./captured-text.ts";
import { classify, classifyConnect } from "./errors.ts";
import { flavourOf } from "./flavour.ts";
import { coversDatabase, quoteName, quoteText, wholeDatabase } from "./identifiers.ts";
import { labels } from "./types.ts";

describe("parseAddress", () => {
  it("takes a URL apart, escapes included", () => {
    const { options, database, server } = parseAddress(
      "mysql://a%40b:p%3Aq@db.example:3307/my%20shop",
      "x",
    );
    expect(options).toMatchObject({ user: "a@b", password: "p:q", host: "db.example", port: 3307 });
    expect([database, server]).toEqual(["my shop", "db.example:3307"]);
  });

  it("checks certificates unless told otherwise, except on this machine", () => {
    const ssl = (url: string) => parseAddress(url, "x").options.ssl;
    expect(ssl("mysql://db.example/d")).toEqual({ rejectUnauthorized: true, verifyIdentity: true });
    expect(ssl("mysql://db.example/d?ssl-mode=required")).toEqual({
      rejectUnauthorized: false,
      verifyIdentity: false,
    });
    expect(ssl("mysql://db.example/d?ssl-mode=DISABLED")).toBeUndefined();
    expect(ssl("mysql://127.0.0.1/d")).toBeUndefined();
    expect(ssl("mysql://LOCALHOST/d")).toBeUndefined();
    expect(ssl("mysql://localhost/d?socket=/run/s")).toBeUndefined();
    for (const local of ["localhost/d?", "localhost/d?socket=/run/s&"]) {
      expect(ssl(`mysql://${local}ssl-mode=VERIFY_CA`)).toEqual({
        rejectUnauthorized: true,
        verifyIdentity: false,
      });
      expect(ssl(`mysql://${local}ssl-ca=${import.meta.filename}`)).toMatchObject({
        rejectUnauthorized: true,
        verifyIdentity: true,
      });
    }
  });

  it("refuses without a database, with an unknown parameter, and never quotes the URL", () => {
    for (const url of [
      "mysql://u:secret@h",
      "mysql://u:secret@h/d?sslmode=x",
      "mysql://u:secret@h/d?ssl-mode=DISABLED&ssl-mode=REQUIRED",
      "mysql://u:%zz@h/d",
      "secret",
    ]) {
      expect(() => parseAddress(url, "x")).toThrow(
        expect.objectContaining({ code: "TM-URL-INVALID" }),
      );
      expect(() => parseAddress(url, "x")).not.toThrow(/secret/);
    }
  });
});

describe("classify", () => {
  const server = (errno: number, message: string) =>
    Object.assign(new Error(message), { errno, sql: "secret" });

  const running = (option: string) =>
    `The MySQL server is running with the ${option} option so it cannot execute this statement`;

  it("takes names out of the server's message and nothing else", () => {
    const cases: readonly [number, string, string, object][] = [
      [
        1062,
        "Duplicate entry 'secret' for key 'u_code'",
        "TM-APPLY-CONSTRAINT",
        { constraint: "u_code" },
      ],
      [
        1366,
        "Incorrect integer value: 'secret' for column `d`.`t`.`c` at row 1",
        "TM-VALUE-REFUSED",
        { column: "c" },
      ],
      [1406, "Data too long for column 'c' at row 3", "TM-VALUE-REFUSED", { column: "c" }],
      [1048, "Column 'c' cannot be null", "TM-APPLY-CONSTRAINT", { column: "c" }],
      [
        1452,
        "Cannot add or update a child row: a foreign key constraint fails (`d`.`t`, CONSTRAINT `fk` FOREIGN KEY (`p`) …)",
        "TM-APPLY-CONSTRAINT",
        { constraint: "fk" },
      ],
      [1213, "Deadlock found", "TM-APPLY-RETRY", {}],
      [1205, "Lock wait timeout", "TM-APPLY-RETRY", {}],
      [1290, running("--read-only"), "TM-READ-ONLY", {}],
      [1290, running("--super-read-only"), "TM-READ-ONLY", {}],
      [1290, running("NO_ENGINE_SUBSTITUTION"), "TM-SERVER-UNSUPPORTED", {}],
      [1290, running("--skip-grant-tables"), "TM-SERVER-UNSUPPORTED", {}],
      [1038, "Out of sort memory", "TM-SERVER-UNSUPPORTED", {}],
      [3748, "Statement violates GTID consistency: …", "TM-SERVER-UNSUPPORTED", {}],
      [1419, "You do not have the SUPER privilege", "TM-GRANT-MISSING", {}],
      [1114, "The table 'secret' is full", "TM-DISK-FULL", {}],
      [
        3,
        "Error writing file '/tmp/MLsecret' (Errcode: 28 \"No space left on device\")",
        "TM-DISK-FULL",
        {},
      ],
      [
        1026,
        "Error writing file 'secret' (errno: 28 - No space left on device)",
        "TM-DISK-FULL",
        {},
      ],
      [
        1030,
        'Got error 28 "No space left on device" from storage engine secret',
        "TM-DISK-FULL",
        {},
      ],
      [1030, "Got error 122 from storage engine secret", "TM-INTERNAL", {}],
      [1064, "You have an error near 'secret'", "TM-INTERNAL", {}],
    ];
    for (const [errno, message, code, details] of cases) {
      const error = classify(server(errno, message), { table: "t" });
      expect(error).toMatchObject({ code, details: { ...details, errno, table: "t" } });
      expect(JSON.stringify(error) + error.message + String(error.cause)).not.toContain("secret");
    }
  });

  it("tells of a full disk that there is to be room, and that it goes on then", () => {
    const error = classify(server(1021, "Disk full (/tmp/x)"));
    expect(error.fix).toBe("free space on the server's disk; it goes on by itself");
  });

  it("gives the grant that is missing", () => {
    const denied = "CREATE command denied to user 'sync'@'%' for table `shop`.`tidemark_source`";
    expect(classify(server(1142, denied)).fix).toBe(
      "GRANT CREATE ON `shop`.`tidemark_source` TO 'sync'@'%';",
    );
    expect(classify(server(1142, denied), { table: "orders" })).toMatchObject({
      message:
        "The user lacks a right on the table. Right CREATE. Table tidemark_source. (server error 1142)",
      details: { table: "tidemark_source" },
    });
    const ofColumn = "SELECT command denied to user 'sync'@'%' for column 'name' in table 'items'";
    expect(classify(server(1143, ofColumn)).message).toBe(
      "The user lacks a right on a column of the table. Right SELECT. Table items. Column name. (server error 1143)",
    );
    // As MySQL says it; and the host is the client's, where the account has another.
    const bare = "DROP command denied to user 'sync'@'10.0.0.7' for table 'tidemark_source'";
    expect(classify(server(1142, bare), { database: "shop", account: "'sync'@'%'" }).fix).toBe(
      "GRANT DROP ON `shop`.`tidemark_source` TO 'sync'@'%';",
    );
    const nothing = "Access denied for user 'sync'@'%' to database 'shop'";
    expect(classify(server(1044, nothing), { right: "LOCK TABLES" }).fix).toBe(
      "GRANT LOCK TABLES ON `shop`.* TO 'sync'@'%';",
    );
    expect(classify(server(1044, nothing)).fix).toMatch(/^GRANT .* ON `shop`\.\* TO 'sync'@'%';$/);
  });

  it("tells a lost connection from one that was never made", () => {
    const reset = Object.assign(new Error("read"), { code: "ECONNRESET", errno: -104 });
    expect(classify(reset)).toMatchObject({ code: "TM-CONNECTION-LOST", retryable: true });
    expect(classifyConnect(reset, "h:1")).toMatchObject({ code: "TM-CONNECT-FAILED" });
    expect(classifyConnect(server(1045, "Access denied for 'secret'"), "h:1")).toMatchObject({
      code: "TM-AUTH-FAILED",
    });
    const used = server(1226, "User 'secret' has exceeded the 'max_user_connections' resource");
    expect(classifyConnect(used, "h:1").fix).toContain("WITH MAX_USER_CONNECTIONS");
  });
});

describe("flavourOf", () => {
  it("knows MariaDB and MySQL apart and refuses what is too old", () => {
    expect(flavourOf("5.5.5-10.6.18-MariaDB-log")).toMatchObject({
      product: "MariaDB",
      version: "10.6.18",
      uuidType: false,
    });
    expect(flavourOf("11.4.2-MariaDB")).toMatchObject({
      uuidType: true,
      exactCollation: "utf8mb4_nopad_bin",
    });
    expect(flavourOf("8.4.0")).toMatchObject({
      product: "MySQL",
      exactCollation: "utf8mb4_0900_bin",
      engineKeys: null,
    });
    expect(flavourOf("9.6.0")).toMatchObject({ engineKeys: "innodb_native_foreign_keys" });
    for (const old of ["5.7.44-log", "8.0.16", "10.5.9-MariaDB"]) {
      expect(() => flavourOf(old)).toThrow(
        expect.objectContaining({ code: "TM-SERVER-UNSUPPORTED" }),
      );
    }
  });
});

describe("text", () => {
  it("quotes names and strings", () => {
    expect(quoteName("a`b")).toBe("`a``b`");
    expect(quoteText("it's \\ \0")).toBe("'it\\'s \\\\ \0'");
    expect(labels("enum('a','it''s','')")).toEqual(["a", "it's", ""]);
  });

  it.each([
    ["my_shop", "`my\\_shop`.*"],
    ["a`b%\\", "`a``b\\%\\\\`.*"],
  ])("grants rights on %s and on no other database", (name, granted) => {
    expect(wholeDatabase(name)).toBe(granted);
    expect(coversDatabase(granted.slice(0, -2), name)).toBe(true);
    expect(coversDatabase(granted.slice(0, -2), name.replace(/[_%]/, "x"))).toBe(false);
  });

  it("knows for which databases a right was granted", () => {
    for (const pattern of ["*", "`my_shop`", "`my%`", "`my\\_shop`"]) {
      expect(coversDatabase(pattern, "my_shop"), pattern).toBe(true);
    }
    for (const pattern of ["`my`", "`my.shop`", "`my_shop_`", "`my\\%`", "``"]) {
      expect(coversDatabase(pattern, "my_shop"), pattern).toBe(false);
    }
  });

  it("brings captured text into canonical form", () => {
    expect(
      ["0.10000000149011612", "16777216", "-3.4028234663852886e38", "0"].map(shortestFloat32),
    ).toEqual(["0.1", "16777216", "-3.4028235e+38", "0"]);
    expect(["10:00:00.500000", "10:00:00.000", "10:00:00"].map(trimFraction)).toEqual([
      "10:00:00.5",
      "10:00:00",
      "10:00:00",
    ]);
    expect(["1704067200.000001", "0.000000", "0.000001"].map(utcTimestamp)).toEqual([
      "2024-01-01 00:00:00.000001+00",
      "0000-00-00 00:00:00+00",
      "1970-01-01 00:00:00.000001+00",
    ]);
  });
});
