-- A payment keeps no token: its order does, until the payment has been decided. A body that is no JSON stays as it is.

UPDATE payments_documents SET body = json_set(body, '$.instruction.token', '')
WHERE CASE WHEN json_valid(body) THEN json_extract(body, '$.instruction.token') <> '' END;
