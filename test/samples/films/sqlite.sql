CREATE TABLE languages (
  id SMALLINT NOT NULL PRIMARY KEY,
  name CHAR(20) NOT NULL UNIQUE
)

CREATE TABLE films (
  id INTEGER PRIMARY KEY,
  title VARCHAR(255) NOT NULL,
  description TEXT,
  released INT,
  language_id SMALLINT NOT NULL REFERENCES languages ON UPDATE CASCADE,
  minutes SMALLINT,
  rating TEXT DEFAULT 'G' CHECK (rating IN ('G', 'PG', 'PG-13', 'R', 'NC-17')),
  special_features JSON,
  cover BLOB,
  last_update TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP
)

CREATE VIRTUAL TABLE film_search USING fts5 (title, description, content = 'films', content_rowid = 'id')

CREATE TRIGGER film_search_added AFTER INSERT ON films BEGIN
  INSERT INTO film_search (rowid, title, description) VALUES (NEW.id, NEW.title, NEW.description);
END

CREATE TRIGGER film_search_removed AFTER DELETE ON films BEGIN
  INSERT INTO film_search (film_search, rowid, title, description)
    VALUES ('delete', OLD.id, OLD.title, OLD.description);
END

CREATE TRIGGER film_search_changed AFTER UPDATE OF id, title, description ON films BEGIN
  INSERT INTO film_search (film_search, rowid, title, description)
    VALUES ('delete', OLD.id, OLD.title, OLD.description);
  INSERT INTO film_search (rowid, title, description) VALUES (NEW.id, NEW.title, NEW.description);
END

CREATE TABLE actors (
  id INTEGER PRIMARY KEY,
  first_name TEXT NOT NULL,
  last_name TEXT NOT NULL
)

CREATE TABLE film_actors (
  film_id INTEGER NOT NULL REFERENCES films ON DELETE CASCADE ON UPDATE CASCADE,
  actor_id INTEGER NOT NULL REFERENCES actors ON DELETE CASCADE,
  PRIMARY KEY (film_id, actor_id)
) WITHOUT ROWID

CREATE TABLE copies (
  id INTEGER PRIMARY KEY,
  film_id INTEGER NOT NULL REFERENCES films ON DELETE CASCADE ON UPDATE CASCADE,
  store SMALLINT NOT NULL
)

CREATE TABLE rentals (
  id INTEGER PRIMARY KEY,
  copy_id INTEGER REFERENCES copies ON DELETE SET NULL,
  renter TEXT NOT NULL,
  period TEXT NOT NULL,
  UNIQUE (copy_id, renter)
)

CREATE TABLE fees (
  id INTEGER NOT NULL,
  rental_id INTEGER,
  amount DECIMAL(5,2) NOT NULL,
  paid_on DATE NOT NULL,
  PRIMARY KEY (id, paid_on)
)

CREATE TRIGGER last_update AFTER UPDATE OF title, description, rating, minutes ON films BEGIN
  UPDATE films SET last_update = strftime('%Y-%m-%d %H:%M:%f', 'now') WHERE id = NEW.id;
END

CREATE VIEW film_list AS
  SELECT f.id, f.title, group_concat(a.last_name, ', ') AS cast_list
  FROM films f LEFT JOIN film_actors fa ON fa.film_id = f.id LEFT JOIN actors a ON a.id = fa.actor_id
  GROUP BY f.id, f.title
