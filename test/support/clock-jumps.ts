// Loaded into a process before all else: at SIGUSR2 its wall clock jumps, forward or back, up to two hours.
const MOST_MS = 2 * 3_600_000;
const RealDate = Date;
let offset = 0;

process.on("SIGUSR2", () => {
  offset += Math.round((Math.random() * 2 - 1) * MOST_MS);
});

globalThis.Date = class extends RealDate {
  constructor(...args: []) {
    if (args.length === 0) super(RealDate.now() + offset);
    else super(...args);
  }

  static override now(): number {
    return RealDate.now() + offset;
  }
} as DateConstructor;
