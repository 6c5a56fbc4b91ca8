//! `openapi.json`, made from the table that requests are dispatched from (OpenAPI 3.1).

use http::Method;
use serde_json::{Value, json};
use utoipa::openapi::path::{HttpMethod, OperationBuilder, ParameterBuilder, ParameterIn, PathItem};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::{ObjectBuilder, Schema, SchemaType, Type};
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::{
    ComponentsBuilder, ContentBuilder, InfoBuilder, OpenApiBuilder, PathsBuilder, RefOr, Required,
    ResponseBuilder,
};

use super::routes::{Access, HttpRoute, paths, table};

const BEARER: &str = "bearer";
const KEY: &str = "key";

/// The document.
pub fn document() -> Value {
    let mut all = PathsBuilder::new();
    for route in table() {
        for path in paths(&route) {
            all = all.path(
                path.clone(),
                PathItem::new(method(&route.method), operation(&route, &path)),
            );
        }
    }
    let document = OpenApiBuilder::new()
        .info(
            InfoBuilder::new()
                .title("MyChat Gateway")
                .version(env!("CARGO_PKG_VERSION"))
                .description(Some("The gateway's HTTP API. `/api` and `/api/v1` are the same."))
                .build(),
        )
        .paths(all.build())
        .components(Some(
            ComponentsBuilder::new()
                .schema("Error", error_schema())
                .security_scheme(
                    BEARER,
                    SecurityScheme::Http(
                        HttpBuilder::new()
                            .scheme(HttpAuthScheme::Bearer)
                            .bearer_format("JWT")
                            .build(),
                    ),
                )
                .security_scheme(
                    KEY,
                    SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::new("X-API-Key"))),
                )
                .build(),
        ))
        .build();
    serde_json::to_value(document).unwrap_or_else(|_| json!({}))
}

fn operation(route: &HttpRoute, path: &str) -> utoipa::openapi::path::Operation {
    let id = format!(
        "{}{}",
        route.method.as_str().to_lowercase(),
        path.replace(['/', '.'], "_")
    );
    let mut operation = OperationBuilder::new()
        .operation_id(Some(id))
        .summary(Some(route.summary))
        .response("200", ResponseBuilder::new().description("Success").build())
        .response("default", failure());
    for name in route.query {
        operation = operation.parameter(
            ParameterBuilder::new()
                .name(*name)
                .parameter_in(ParameterIn::Query)
                .required(Required::False)
                .schema(Some(plain(Type::String)))
                .build(),
        );
    }
    if !route.body.is_empty() {
        operation = operation.request_body(Some(body(route.body)));
    }
    for scheme in schemes(route.access) {
        operation = operation.security(SecurityRequirement::new(*scheme, Vec::<String>::new()));
    }
    operation.build()
}

fn schemes(access: Access) -> &'static [&'static str] {
    match access {
        Access::Open => &[],
        Access::Bearer => &[BEARER],
        Access::Admin => &[BEARER, KEY],
        Access::Service => &[KEY],
    }
}

fn body(fields: &[&str]) -> utoipa::openapi::request_body::RequestBody {
    let mut object = ObjectBuilder::new();
    for field in fields {
        let name = field.trim_end_matches('?');
        object = match name {
            "seq" | "cmd_id" | "wait_ms" => object.property(name, plain(Type::Integer)),
            "user_ids" => object.property(name, plain(Type::Array)),
            // A string or an object.
            "data" => object.property(
                name,
                ObjectBuilder::new().schema_type(SchemaType::AnyValue).build(),
            ),
            _ => object.property(name, plain(Type::String)),
        };
        if !field.ends_with('?') {
            object = object.required(name);
        }
    }
    RequestBodyBuilder::new()
        .content(
            "application/json",
            ContentBuilder::new().schema(Some(object.build())).build(),
        )
        .required(Some(Required::True))
        .build()
}

fn failure() -> utoipa::openapi::Response {
    let schema = RefOr::Ref(utoipa::openapi::Ref::from_schema_name("Error"));
    ResponseBuilder::new()
        .description("What went wrong, under the status of its code")
        .content(
            "application/json",
            ContentBuilder::new().schema(Some(schema)).build(),
        )
        .build()
}

fn error_schema() -> Schema {
    let mut object = ObjectBuilder::new().property("code", plain(Type::Integer));
    for name in ["message", "err_msg", "request_id"] {
        object = object.property(name, plain(Type::String));
    }
    object.build().into()
}

fn plain(kind: Type) -> Schema {
    ObjectBuilder::new()
        .schema_type(SchemaType::Type(kind))
        .build()
        .into()
}

fn method(method: &Method) -> HttpMethod {
    if *method == Method::POST {
        HttpMethod::Post
    } else {
        HttpMethod::Get
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_of_the_table_stands_in_the_document() {
        let document = document();
        for route in table() {
            for path in paths(&route) {
                let method = route.method.as_str().to_lowercase();
                assert!(document["paths"][&path][&method].is_object(), "{method} {path}");
            }
        }
    }

    #[test]
    fn operation_ids_are_unique() {
        let document = document();
        let mut ids = std::collections::HashSet::new();
        for item in document["paths"]
            .as_object()
            .into_iter()
            .flat_map(|paths| paths.values())
        {
            for operation in item.as_object().into_iter().flat_map(|item| item.values()) {
                assert!(ids.insert(operation["operationId"].to_string()));
            }
        }
        assert!(ids.len() >= table().len());
    }
}
