CREATE TABLE languages (
  id tinyint unsigned PRIMARY KEY,
  name char(20) NOT NULL UNIQUE
)

CREATE TABLE films (
  id int PRIMARY KEY,
  title varchar(255) NOT NULL,
  description text,
  released year,
  language_id tinyint unsigned NOT NULL,
  minutes smallint unsigned,
  rating enum('G', 'PG', 'PG-13', 'R', 'NC-17') DEFAULT 'G',
  special_features set('Trailers', 'Commentaries', 'Deleted Scenes', 'Behind the Scenes'),
  cover mediumblob,
  last_update timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP,
  FULLTEXT KEY films_search (title, description),
  FOREIGN KEY (language_id) REFERENCES languages (id) ON UPDATE CASCADE
)

CREATE TABLE actors (
  id int PRIMARY KEY,
  first_name varchar(45) NOT NULL,
  last_name varchar(45) NOT NULL
)

CREATE TABLE film_actors (
  film_id int NOT NULL,
  actor_id int NOT NULL,
  PRIMARY KEY (film_id, actor_id),
  FOREIGN KEY (film_id) REFERENCES films (id) ON DELETE CASCADE ON UPDATE CASCADE,
  FOREIGN KEY (actor_id) REFERENCES actors (id) ON DELETE CASCADE
)

CREATE TABLE copies (
  id int PRIMARY KEY,
  film_id int NOT NULL,
  store tinyint NOT NULL,
  FOREIGN KEY (film_id) REFERENCES films (id) ON DELETE CASCADE ON UPDATE CASCADE
)

CREATE TABLE rentals (
  id int PRIMARY KEY,
  copy_id int,
  renter varchar(100) NOT NULL,
  period varchar(100) NOT NULL,
  UNIQUE KEY (copy_id, renter),
  FOREIGN KEY (copy_id) REFERENCES copies (id) ON DELETE SET NULL
)

CREATE TABLE fees (
  id int NOT NULL,
  rental_id int,
  amount decimal(5,2) NOT NULL,
  paid_on date NOT NULL,
  PRIMARY KEY (id, paid_on)
) PARTITION BY RANGE (TO_DAYS(paid_on)) (
  PARTITION p1 VALUES LESS THAN (TO_DAYS('2026-02-01')),
  PARTITION p2 VALUES LESS THAN (TO_DAYS('2026-03-01')),
  PARTITION p3 VALUES LESS THAN MAXVALUE
)

CREATE TABLE film_texts (
  film_id int PRIMARY KEY,
  text_words int NOT NULL
)

CREATE TRIGGER film_added AFTER INSERT ON films FOR EACH ROW
  INSERT INTO film_texts (film_id, text_words) VALUES (NEW.id, CHAR_LENGTH(COALESCE(NEW.description, '')))

CREATE TRIGGER film_changed AFTER UPDATE ON films FOR EACH ROW
BEGIN
  DELETE FROM film_texts WHERE film_id = OLD.id;
  INSERT INTO film_texts (film_id, text_words) VALUES (NEW.id, CHAR_LENGTH(COALESCE(NEW.description, '')));
END

CREATE TRIGGER film_removed BEFORE DELETE ON films FOR EACH ROW DELETE FROM film_texts WHERE film_id = OLD.id

CREATE VIEW film_list AS
  SELECT f.id, f.title, GROUP_CONCAT(a.last_name SEPARATOR ', ') AS cast_list
  FROM films f LEFT JOIN film_actors fa ON fa.film_id = f.id LEFT JOIN actors a ON a.id = fa.actor_id
  GROUP BY f.id, f.title
