/** A name for a column that is to become the key of a table with these columns, whatever their letters' case. */
export function newKeyColumn(columns: readonly { readonly name: string }[]): string {
  const taken = new Set(columns.map(({ name }) => name.toLowerCase()));
  for (let number = 2, name = "id"; ; number++) {
    if (!taken.has(name)) return name;
    name = `id${number}`;
  }
}
