-- People type identifiers and SKUs into the search box in any case.

CREATE INDEX products_any_case ON products (id COLLATE NOCASE);
CREATE INDEX skus_any_case ON skus (sku COLLATE NOCASE);
