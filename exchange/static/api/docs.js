// Starts Swagger UI. A file of its own, so that the page needs no inline script.
"use strict";

const host = document.getElementById("swagger-ui");

window.SwaggerUIBundle({
  url: host.dataset.schema,
  domNode: host,
  deepLinking: true,
  persistAuthorization: false,
  validatorUrl: null,
  requestInterceptor(request) {
    const token = document.cookie.match(/(?:^|; )csrftoken=([^;]+)/);
    if (token) {
      request.headers["X-CSRFToken"] = token[1];
    }
    return request;
  },
});
