"use strict";
SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#document",
  deepLinking: true,
  docExpansion: "list",
  // Nothing is sent to anybody else to be judged.
  validatorUrl: null,
});
