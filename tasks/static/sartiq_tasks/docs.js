// Starts Swagger UI on the document that the page names.
"use strict";

const page = document.getElementById("swagger-ui");

SwaggerUIBundle({ url: page.dataset.document, domNode: page, deepLinking: true, validatorUrl: null });
