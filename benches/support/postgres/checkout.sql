\set a random(1, 330)
\set b random(331, 660)
\set c random(661, 1000)
BEGIN;
UPDATE stock SET on_hand = on_hand - 1 WHERE sku = :a AND on_hand >= 1;
UPDATE stock SET on_hand = on_hand - 1 WHERE sku = :b AND on_hand >= 1;
UPDATE stock SET on_hand = on_hand - 1 WHERE sku = :c AND on_hand >= 1;
INSERT INTO orders (buyer, body) VALUES ('somebody', repeat('x', 500)) RETURNING id AS placed \gset
INSERT INTO lines VALUES (:placed, :a, 1), (:placed, :b, 1), (:placed, :c, 1);
COMMIT;
