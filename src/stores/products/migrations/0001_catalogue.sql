-- Products with the columns that lists filter and sort by, their SKUs, categories, stock badges and the search index.

CREATE TABLE categories (
    slug TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    parent TEXT
) STRICT;

CREATE INDEX categories_parent ON categories (parent);

CREATE TABLE products (
    -- The order of creation; also the row's number in the search index.
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    category TEXT NOT NULL,
    brand TEXT NOT NULL,
    price INTEGER NOT NULL,
    in_stock INTEGER NOT NULL DEFAULT 0,
    body TEXT NOT NULL
) STRICT;

-- Each covers every filter, so that counting and paging touch no body.
CREATE INDEX products_category ON products (category, price, brand, in_stock);
CREATE INDEX products_brand ON products (brand, price, category, in_stock);
CREATE INDEX products_price ON products (price, category, brand, in_stock);

CREATE TABLE skus (
    sku TEXT NOT NULL PRIMARY KEY,
    product TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX skus_product ON skus (product);

CREATE TABLE badges (
    sku TEXT NOT NULL PRIMARY KEY,
    available INTEGER NOT NULL,
    version INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Without content of its own: the texts are in products.body.
CREATE VIRTUAL TABLE search USING fts5 (
    title, description, brand, category, attributes,
    content = '', contentless_delete = 1,
    tokenize = 'unicode61 remove_diacritics 2',
    prefix = '2 3'
);
