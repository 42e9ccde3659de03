# The images of the operator, the sidecar and the demo app, one stage each: `make images REGISTRY=… [PUSH=1]`.
# Both programs come from one build, and run on a base without a shell, under a user that is not root.
ARG RUST=1.95
ARG DEBIAN=bookworm
ARG DISTROLESS=debian12
ARG NODE=20

FROM rust:${RUST}-slim-${DEBIAN} AS build
WORKDIR /src
COPY Cargo.toml Cargo.lock ./
COPY .cargo .cargo
COPY crds crds
COPY operator operator
COPY sidecar sidecar
COPY tests tests
# There is no .git here to ask.
ARG HYPERPAGE_COMMIT=""
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    cargo build --locked --profile dist --bin hyperpage-operator --bin hyperpage-sidecar && \
    cp target/dist/hyperpage-operator target/dist/hyperpage-sidecar /usr/local/bin/

FROM gcr.io/distroless/cc-${DISTROLESS}:nonroot AS operator
COPY --from=build /usr/local/bin/hyperpage-operator /hyperpage-operator
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["/hyperpage-operator"]

FROM gcr.io/distroless/cc-${DISTROLESS}:nonroot AS sidecar
COPY --from=build /usr/local/bin/hyperpage-sidecar /hyperpage-sidecar
USER 65532:65532
EXPOSE 4101
ENTRYPOINT ["/hyperpage-sidecar"]

FROM node:${NODE}-${DEBIAN}-slim AS demo
WORKDIR /app
COPY examples/demo .
ENV NODE_ENV=production
USER 1001:1001
EXPOSE 3000
ENTRYPOINT ["node"]
CMD ["server.js"]
