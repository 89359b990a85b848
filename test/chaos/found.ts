// Every bug that a checker has found, for docs/reference/guarantees.md.

export interface Found {
  readonly level: "simulation" | "servers" | "power" | "soak";
  /** Of the worlds or schemas as they were then: today the same seed is another run. */
  readonly seed: number;
  readonly what: string;
}

export const FOUND: readonly Found[] = [
  {
    level: "simulation",
    seed: 2,
    what: "a worker that was started while the broker was away ended, instead of waiting for it",
  },
  {
    level: "simulation",
    seed: 97,
    what: "an earlier flush of a target that ended later took the newer notice back: a wait lasted until the next change",
  },
  {
    level: "simulation",
    seed: 264,
    what: "a fragment could complete another message, when the broker had lost what was between them",
  },
  {
    level: "simulation",
    seed: 379,
    what: "two targets were copied at once: a bounded queue filled with chunks of the one, which the other never told it had passed by, and both stood still",
  },
  {
    level: "simulation",
    seed: 79,
    what: "a target made anew could not join while the queue was full of what the one before it had not read",
  },
  {
    level: "simulation",
    seed: 5012,
    what: "a target that was given up at the log's bound was not told until the next change, when the queue had lost the word of it (with a target away in every world)",
  },
  {
    level: "simulation",
    seed: 6132,
    what: "a wait whose time was over while the broker was away ended as if the connection were all (in the same worlds)",
  },
  {
    level: "simulation",
    seed: 1574,
    what: "what was left of batches that were cut off in the middle filled a small queue for good: the relay never found room to send them whole",
  },
  {
    level: "simulation",
    seed: 235_472,
    what: "a target was given up at the log's bound and joined anew at that moment: the relay went on keeping batches for it that were purged, and stopped",
  },
  {
    level: "simulation",
    seed: 741_027,
    what: "a target made anew that had just joined was given up at the log's bound for what the one before it had not confirmed",
  },
  {
    level: "simulation",
    seed: 273_902,
    what: "an applier that had asked for a batch once more caught up before it was sent, and was told that the batch was purged",
  },
  {
    level: "simulation",
    seed: 3_311_082,
    what: "a parent that was deleted, and came back in the same batch further on than what is applied at a time, had meanwhile taken children along that stay at the source, by ON DELETE CASCADE or SET NULL at the target",
  },
  {
    level: "simulation",
    seed: 3_505_918,
    what: "two batches of one target transaction that the relay had each begun twice: an applier knew the false start of one only, and was undone at those of the one and the other in turn, for good",
  },
  {
    level: "simulation",
    seed: 3_700_244,
    what: "an applier that was about to empty tables for a resync told a position that the target could still lose: after a crash of the target the log might not have held what it needed",
  },
  {
    level: "simulation",
    seed: 5_100_002,
    what: "an applier told that rows set aside had been tried again or dropped as soon as that was committed: after a crash of the target they stood there as before",
  },
  {
    level: "simulation",
    seed: 5_500_827,
    what: "a row got another key and another row came under the old one: by ON UPDATE CASCADE at the target, where its deletions are carried on too, rows that refer to a unique value of the first followed the second",
  },
  {
    level: "simulation",
    seed: 5_603_152,
    what: "a function as target was handed the `clear` of a resync before it was stored that its table is copied anew: where that failed and the order was lost, it was never handed again what it had cleared",
  },
  {
    level: "simulation",
    seed: 6_300_077,
    what: "a target that was given up at the log's bound had everything from the queue before it heard of that, and was not kept the queue for again: full of what it had read, it took no more chunks of its copies",
  },
  {
    level: "simulation",
    seed: 7_004_751,
    what: "the checker itself: deadlocks and damaged messages went on when the faults were said to have ended, and a batch of thousands of statements hardly ever got through",
  },
  {
    level: "servers",
    seed: 1,
    what: "MariaDB, MySQL: purging waited for a transaction that was left open, and the relay published nothing meanwhile",
  },
  {
    level: "servers",
    seed: 5009,
    what: "MariaDB, MySQL: a relay that took over purged first, row by row past the rows that open transactions hold, and answered nobody for more than a minute",
  },
  {
    level: "servers",
    seed: 7103,
    what: "a connection to NATS that broke after the clock had been set back was not made again until the clock had caught up",
  },
  {
    level: "servers",
    seed: 7300,
    what: "MariaDB, MySQL: a process that died between two statements of its first set-up left a log that was taken for one that had been emptied, at every start",
  },
  {
    level: "servers",
    seed: 20066,
    what: "two processes that opened a new queue file at once: one took it for a database of something else, and stopped",
  },
  {
    level: "servers",
    seed: 60026,
    what: "the checker itself: an answer that was to be lost was lost only when all was said to be healed, and a process that was just starting ended with TM-CONNECTION-LOST",
  },
  {
    level: "servers",
    seed: 40233243,
    what: "PostgreSQL: of two processes that were started together at a new source one could stop with TM-CAPTURE-BROKEN: it looked for triggers before, and for what they belong to after the other had made both",
  },
  {
    level: "servers",
    seed: 315059882,
    what: "NATS: an applier that had lost its lease went on trying to tell its last notice, and so took back, for up to four seconds, what the one that had taken over told",
  },
  {
    level: "power",
    seed: 1,
    what: "MariaDB with its own default, a binary log that is not synced: a power cut takes what was acknowledged, and `doctor` did not look at it",
  },
  {
    level: "power",
    seed: 2,
    what: "NATS: of a server that answers while its JetStream has locked itself up, as 2.9 does after a power cut, the errors said that it cannot be reached",
  },
  {
    level: "power",
    seed: 2,
    what: "the checker itself: a disk that had been full was full again after a power cut, which had taken back that it was freed",
  },
  {
    level: "power",
    seed: 3,
    what: "MariaDB, MySQL: a full disk that the server met while it wrote a file of its own (error 3) stopped the sync for good, with TM-INTERNAL (in worlds of full disks alone)",
  },
  {
    level: "power",
    seed: 5000,
    what: "SQLite: that the log is kept for a sync that had just joined was not synced: a power cut took it, and what the sync needed was purged (TM-BATCH-PURGED)",
  },
  {
    level: "soak",
    seed: 3_310_006,
    what: "PostgreSQL: blanks at the end of a bpchar in a key changed unnoticed: the target kept the row as it was before, or twice",
  },
  {
    level: "soak",
    seed: 910_015,
    what: "MariaDB, MySQL: after many rollbacks, purging let a cut under way take purged rows for new ones: a row that had moved to another key came back under its old one",
  },
  {
    level: "soak",
    seed: 1_010_016,
    what: "PostgreSQL: a key of numeric that was deleted as 0.00 and came again as 0 was taken for the same by the applier, but not by a target that keeps its texts: the old row stayed",
  },
  {
    level: "soak",
    seed: 1_030_011,
    what: "rows without a key that a foreign key of the target had changed already (ON UPDATE CASCADE, ON DELETE SET NULL) were not found when their own change came, and stood twice",
  },
  {
    level: "soak",
    seed: 1_060_002,
    what: "MariaDB, MySQL under READ COMMITTED: a row that came below the second level of a deletion while it was carried out went with it unseen, and stayed at the target",
  },
  {
    level: "soak",
    seed: 1_420_021,
    what: "PostgreSQL: a table with an hstore in its key, whose comparing operators have names of their own, could not be copied",
  },
  {
    level: "soak",
    seed: 1_420_024,
    what: "MariaDB, MySQL: a row that another session changed between what was logged of a deletion and its action was logged as changed after it had gone, and stayed at the target",
  },
  {
    level: "soak",
    seed: 2_000_006,
    what: "MariaDB, MySQL: a FLOAT in a key that changed behind the six digits that it prints was not noticed as another key: the row stayed at the target under the old one as well",
  },
  {
    level: "soak",
    seed: 510155,
    what: "a row that went and came back with another unique value took along, by ON UPDATE CASCADE at the target, the rows that refer to the old value",
  },
  {
    level: "soak",
    seed: 620003,
    what: "PostgreSQL: a regtype was logged with quotes by a session with quote_all_identifiers",
  },
  {
    level: "soak",
    seed: 800025,
    what: "PostgreSQL: of a table with triggers of its own, a transaction with one snapshot logged the row that another had deleted since in place of the one it wrote by the same key",
  },
  {
    level: "soak",
    seed: 810024,
    what: "a row written with its last value followed, by ON UPDATE CASCADE at the target, one written after it that gave this value up to another",
  },
  {
    level: "soak",
    seed: 1,
    what: "while a table was being copied, values that change hands in a deferrable unique key of PostgreSQL stopped the sync for good where more than one run held them (in the world of what changes hands)",
  },
];
