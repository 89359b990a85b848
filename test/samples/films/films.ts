// A rental of films: full text search, an enum, sets of features, covers, many-to-many actors, and
// fees in a partition for each month.
import type { Random } from "../../support/random.ts";
import type { Dialect } from "../../support/sql-client.ts";
import { type Sample, upTo } from "../sample.ts";

const FILMS = 15;
const FEATURES = ["Trailers", "Commentaries", "Deleted Scenes"] as const;
const RATINGS = ["G", "PG", "PG-13", "R", "NC-17"] as const;

export const FILM_RENTAL: Sample = { name: "films", fill, change };

function fill(dialect: Dialect): readonly string[] {
  return [
    ...upTo(4).map((id) => `INSERT INTO languages (id, name) VALUES (${id}, 'Language ${id}')`),
    ...upTo(8).map(
      (id) => `INSERT INTO actors (id, first_name, last_name) VALUES (${id}, 'Élodie', 'Ö${id}')`,
    ),
    ...upTo(10).flatMap((id) => film(dialect, id, (id % 4) + 1, [(id % 8) + 1, 8])),
    ...upTo(20).map((id) => rental(id, (id % 10) + 1)),
    ...upTo(20).map((id) => fee(id, `2026-0${(id % 4) + 1}-15`)),
  ];
}

function change(random: Random, dialect: Dialect): readonly string[] {
  const id = random.between(1, FILMS);
  const actor = () => random.between(1, 8);
  const month = random.between(1, 4);
  switch (
    random.pick(["film", "edit", "edit", "drop", "number", "language", "rent", "month", "cast"])
  ) {
    case "film":
      return film(dialect, id, random.between(1, 4), [actor()]);
    case "edit":
      return [
        `UPDATE films SET description = 'A tale of ${actor()} cats, "and" a ${id}th dog', minutes = ${60 + id}, rating = '${random.pick(RATINGS)}' WHERE id = ${id}`,
        `UPDATE films SET special_features = ${features(dialect, FEATURES.slice(0, random.between(0, 3)))}, cover = ${bytes(dialect, id)} WHERE id BETWEEN ${id} AND ${id + 2}`,
      ];
    case "drop":
      return [`DELETE FROM films WHERE id = ${id}`];
    case "number":
      return [
        `UPDATE films SET id = ${100 + id} WHERE id = ${id}`,
        ...(random.chance(0.5) ? [`UPDATE films SET id = ${id} WHERE id = ${100 + id}`] : []),
      ];
    case "language":
      return [
        `UPDATE languages SET id = ${random.between(1, 8)}, name = 'Idioma ${id}' WHERE id = ${random.between(1, 8)}`,
      ];
    case "rent":
      return [
        rental(random.between(21, 60), id),
        fee(random.between(21, 90), `2026-0${month}-2${random.between(0, 8)}`),
        `DELETE FROM rentals WHERE id = ${random.between(1, 60)}`,
      ];
    case "month":
      // From one partition to another; and a month goes.
      return [
        `UPDATE fees SET paid_on = '2026-0${month}-09' WHERE id BETWEEN ${id} AND ${id + 5}`,
        random.chance(0.7)
          ? `UPDATE fees SET amount = amount + 1 WHERE paid_on < '2026-0${month}-20'`
          : dialect === "postgres"
            ? "TRUNCATE fees_2026_01"
            : "DELETE FROM fees WHERE paid_on < '2026-02-01'",
      ];
    case "cast":
      return [
        `DELETE FROM film_actors WHERE film_id = ${id}`,
        `INSERT INTO film_actors (film_id, actor_id) SELECT id, ${actor()} FROM films WHERE id = ${id}`,
        `UPDATE actors SET last_name = 'Renamed ${id}' WHERE id = ${actor()}`,
        `DELETE FROM copies WHERE id = ${random.between(1, FILMS) * 10}`,
      ];
  }
}

function film(
  dialect: Dialect,
  id: number,
  language: number,
  actors: readonly number[],
): readonly string[] {
  return [
    `INSERT INTO films (id, title, description, released, language_id, minutes, special_features, cover) VALUES (${id}, 'Film ${id}: l''été', 'The ${id}th story', ${1990 + id}, ${language}, 90, ${features(dialect, FEATURES.slice(0, 2))}, ${bytes(dialect, id)})`,
    ...[...new Set(actors)].map(
      (actor) => `INSERT INTO film_actors (film_id, actor_id) VALUES (${id}, ${actor})`,
    ),
    `INSERT INTO copies (id, film_id, store) VALUES (${id * 10}, ${id}, 1), (${id * 10 + 1}, ${id}, 2)`,
  ];
}

function rental(id: number, film: number): string {
  return `INSERT INTO rentals (id, copy_id, renter, period) VALUES (${id}, ${film * 10}, 'renter ${id}', '["2026-01-05 10:00:00","2026-01-07 10:00:00")')`;
}

function fee(id: number, day: string): string {
  return `INSERT INTO fees (id, rental_id, amount, paid_on) VALUES (${id}, ${id}, ${id % 7}.99, '${day}')`;
}

function features(dialect: Dialect, chosen: readonly string[]): string {
  if (dialect === "mariadb") return `'${chosen.join(",")}'`;
  const list = chosen.map((each) => `"${each}"`).join(",");
  return dialect === "postgres" ? `'{${list}}'` : `'[${list}]'`;
}

function bytes(dialect: Dialect, n: number): string {
  const hex = Buffer.from([0, 255, n, 92]).toString("hex").repeat(n);
  return dialect === "postgres" ? `'\\x${hex}'` : `X'${hex}'`;
}
