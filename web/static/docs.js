SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  // It would ask a host of its makers whether the description is valid.
  validatorUrl: null,
});
