CREATE TYPE rating AS ENUM ('G', 'PG', 'PG-13', 'R', 'NC-17')

CREATE DOMAIN year AS integer CHECK (VALUE BETWEEN 1888 AND 2155)

CREATE TABLE languages (
  id smallint PRIMARY KEY,
  name char(20) NOT NULL UNIQUE
)

CREATE TABLE films (
  id integer PRIMARY KEY,
  title varchar(255) NOT NULL,
  description text,
  released year,
  language_id smallint NOT NULL REFERENCES languages ON UPDATE CASCADE,
  minutes smallint,
  rating rating DEFAULT 'G',
  special_features text[],
  cover bytea,
  last_update timestamp NOT NULL DEFAULT now(),
  search tsvector GENERATED ALWAYS AS
    (to_tsvector('english', title || ' ' || coalesce(description, ''))) STORED
)

CREATE INDEX films_search ON films USING gin (search)

CREATE TABLE actors (
  id integer PRIMARY KEY,
  first_name text NOT NULL,
  last_name text NOT NULL
)

CREATE TABLE film_actors (
  film_id integer NOT NULL REFERENCES films ON DELETE CASCADE ON UPDATE CASCADE,
  actor_id integer NOT NULL REFERENCES actors ON DELETE CASCADE,
  PRIMARY KEY (film_id, actor_id)
)

CREATE TABLE copies (
  id integer PRIMARY KEY,
  film_id integer NOT NULL REFERENCES films ON DELETE CASCADE ON UPDATE CASCADE,
  store smallint NOT NULL
)

CREATE TABLE rentals (
  id integer PRIMARY KEY,
  copy_id integer REFERENCES copies ON DELETE SET NULL,
  renter text NOT NULL,
  period tsrange NOT NULL,
  UNIQUE (copy_id, renter)
)

CREATE TABLE fees (
  id integer NOT NULL,
  rental_id integer,
  amount numeric(5,2) NOT NULL,
  paid_on date NOT NULL,
  PRIMARY KEY (id, paid_on)
) PARTITION BY RANGE (paid_on)

CREATE TABLE fees_2026_01 PARTITION OF fees FOR VALUES FROM ('2026-01-01') TO ('2026-02-01')

CREATE TABLE fees_2026_02 PARTITION OF fees FOR VALUES FROM ('2026-02-01') TO ('2026-03-01')

CREATE TABLE fees_rest PARTITION OF fees DEFAULT

CREATE FUNCTION last_update() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  NEW.last_update = clock_timestamp();
  RETURN NEW;
END $$

CREATE TRIGGER last_update BEFORE UPDATE ON films FOR EACH ROW EXECUTE FUNCTION last_update()

CREATE MATERIALIZED VIEW film_list AS
  SELECT f.id, f.title, string_agg(a.last_name, ', ') AS cast_list
  FROM films f LEFT JOIN film_actors fa ON fa.film_id = f.id LEFT JOIN actors a ON a.id = fa.actor_id
  GROUP BY f.id, f.title
