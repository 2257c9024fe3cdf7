CREATE TABLE stock (sku int PRIMARY KEY, on_hand bigint NOT NULL CHECK (on_hand >= 0));
INSERT INTO stock SELECT n, 1000000000 FROM generate_series(1, 1000) AS n;
CREATE TABLE orders (id bigserial PRIMARY KEY, buyer text, body text, created_at timestamptz DEFAULT now());
CREATE TABLE lines (order_id bigint, sku int, quantity int);
CREATE INDEX ON lines (order_id);
