/** Strategy number of equality: https://www.postgresql.org/docs/current/xindex.html */
const BTREE_EQUAL = 3;

/**
 * The live columns of tables with their types, domains followed to their base. A fragment for
 * `WITH RECURSIVE`; `oids` is an SQL expression that gives an oid array.
 *
 * Columns: table_oid, number, name, not_null, generated, identity, type_name, built_in, class,
 * modifier, formatted, bare (modifier -1, not NULL: `bpchar` and `"bit"`, where `character` and
 * `bit` would mean a length of 1), labels (JSON array), declared (format_type of the column itself),
 * has_default, always (identity), equals (the operator of the type's own that keys are compared by, when it is not
 * built in), ambiguous (the implicit cast by which two values are compared otherwise,
 * or not at all), type_schema (NULL: the server's own).
 */
export function columnsQuery(oids: string): string {
  return `
WITH RECURSIVE live AS (
  SELECT a.attrelid, a.attnum, a.attname, a.attnotnull, a.attgenerated, a.attidentity, a.atthasdef,
         a.atttypid, a.atttypmod
  FROM pg_attribute a
  WHERE a.attrelid = ANY (${oids}) AND a.attnum > 0 AND NOT a.attisdropped
), base AS (
  SELECT l.attrelid, l.attnum, t.oid, t.typtype, t.typbasetype, t.typtypmod,
         l.atttypmod AS modifier, t.typnotnull AS strict
  FROM live l JOIN pg_type t ON t.oid = l.atttypid
  UNION ALL
  SELECT b.attrelid, b.attnum, t.oid, t.typtype, t.typbasetype, t.typtypmod,
         b.typtypmod, b.strict OR t.typnotnull
  FROM base b JOIN pg_type t ON t.oid = b.typbasetype
  WHERE b.typtype = 'd'
)
SELECT l.attrelid::oid, l.attnum, l.attname, l.attnotnull OR b.strict, l.attgenerated <> '',
       l.attidentity <> '' OR COALESCE((
         SELECT pg_get_expr(d.adbin, d.adrelid) LIKE 'nextval(%'
         FROM pg_attrdef d WHERE d.adrelid = l.attrelid AND d.adnum = l.attnum), false),
       t.typname, t.typnamespace = 'pg_catalog'::regnamespace, t.typtype, b.modifier,
       format_type(t.oid, b.modifier), format_type(t.oid, -1),
       (SELECT json_agg(e.enumlabel ORDER BY e.enumsortorder) FROM pg_enum e WHERE e.enumtypid = t.oid),
       format_type(l.atttypid, l.atttypmod), l.atthasdef, l.attidentity = 'a',
       (SELECT format('OPERATOR(%I.%s)', n.nspname, o.oprname)
        FROM pg_opclass c
        JOIN pg_amop m ON m.amopfamily = c.opcfamily AND m.amopstrategy = ${BTREE_EQUAL}
                      AND m.amoplefttype = c.opcintype AND m.amoprighttype = c.opcintype
        JOIN pg_operator o ON o.oid = m.amopopr
        JOIN pg_namespace n ON n.oid = o.oprnamespace
        WHERE c.opcmethod = (SELECT oid FROM pg_am WHERE amname = 'btree') AND c.opcdefault
          AND c.opcintype = t.oid AND n.nspname <> 'pg_catalog'),
       -- Where all enums (rows, ranges, arrays) share an operator, one of what a cast makes of them fits as well.
       CASE WHEN t.typtype IN ('e', 'c', 'r', 'm') OR t.typcategory = 'A' THEN (
         SELECT format('CAST (%s AS %s)', format_type(c.castsource, -1), format_type(c.casttarget, -1))
         FROM pg_cast c JOIN pg_operator o ON o.oprleft = c.casttarget AND o.oprright = c.casttarget
         WHERE c.castsource = t.oid AND c.castcontext = 'i'
           AND o.oprname = '=' AND o.oprnamespace = 'pg_catalog'::regnamespace
         ORDER BY 1 LIMIT 1) END,
       (SELECT n.nspname FROM pg_namespace n WHERE n.oid = t.typnamespace AND n.nspname <> 'pg_catalog')
FROM live l
JOIN base b ON b.attrelid = l.attrelid AND b.attnum = l.attnum AND b.typtype <> 'd'
JOIN pg_type t ON t.oid = b.oid
ORDER BY 1, l.attnum`;
}

/** The unique indexes that can identify a row: table_oid, is_primary, columns (JSON array of names), all_not_null, immediate, width, name, loose (JSON: column to the collation under which different texts are equal), without_overlaps. */
export function uniquesQuery(oids: string): string {
  return `
SELECT i.indrelid::oid, i.indisprimary, json_agg(a.attname ORDER BY k.position),
       bool_and(a.attnotnull), i.indimmediate,
       sum(CASE WHEN a.attlen > 0 THEN a.attlen ELSE 64 END),
       (SELECT quote_ident(relname) FROM pg_class WHERE oid = i.indexrelid),
       json_object_agg(a.attname, CASE WHEN t.typname = 'citext' THEN 'citext' ELSE co.collname END)
         FILTER (WHERE t.typname = 'citext' OR NOT co.collisdeterministic),
       i.indisexclusion
FROM pg_index i
CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY AS k(number, position)
JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.number
JOIN pg_opclass op ON op.oid = (i.indclass::oid[])[k.position - 1]
JOIN pg_type t ON t.oid = op.opcintype
LEFT JOIN pg_collation co ON co.oid = (i.indcollation::oid[])[k.position - 1]
WHERE i.indrelid = ANY (${oids}) AND i.indisunique AND i.indisvalid
  AND i.indpred IS NULL AND i.indexprs IS NULL AND k.position <= i.indnkeyatts
GROUP BY i.indexrelid, i.indrelid, i.indisprimary, i.indimmediate, i.indisexclusion, i.indnkeyatts
ORDER BY i.indrelid, i.indisprimary DESC, i.indnkeyatts, 6, i.indexrelid`;
}
