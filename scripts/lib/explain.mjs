/** A failure of the set-up is told in one line: its stack would only point into these scripts. */
export async function orExplain(work) {
  try {
    await work();
  } catch (error) {
    console.error(error.message);
    process.exitCode = 1;
  }
}
