// SPDX-License-Identifier: BSD-3-Clause
// c_api.cpp: zelos.h on top of emulator.hpp. Exceptions end here.
#include "runtime/c_api.hpp"

#include <initializer_list>
#include <nlohmann/json.hpp>

#include "base/version.hpp"
#include "runtime/bound_query.hpp"

namespace {

std::vector<const char*> pointers(const std::vector<std::string>& texts) {
  std::vector<const char*> list;
  for (const std::string& text : texts) list.push_back(text.c_str());
  return list;
}

}  // namespace

zelos_emulator::zelos_emulator(zelos::Emulator e) : emulator(std::move(e)), info(emulator.info().dump()) {
  for (const auto& p : emulator.parameters()) synonyms.push_back(pointers(p.synonyms));
  for (const auto& o : emulator.outputs()) {
    labels.emplace_back();
    for (const auto& a : o.axes) labels.back().push_back(pointers(a.labels));
  }
}

namespace {

using namespace zelos::c_api;

/// The arrays of an answer; an empty answer needs none.
void check_out(const zelos_query* query, std::initializer_list<const void*> arrays) {
  if (query->query.size() == 0) return;
  for (const void* array : arrays) need(array != nullptr, "evaluation: an array is NULL");
}

zelos_status answer(const zelos::Verdict& verdict, zelos_verdict* out, zelos_error* error) {
  fill(verdict, out);
  if (verdict.inside()) return ZELOS_OK;
  return report(error, ZELOS_E_OUTSIDE, to_string(verdict).c_str());
}

bool has_error(zelos_workspace* workspace, const zelos::Verdict& verdict) {
  return workspace->owner->has_error(verdict, workspace->workspace.impl().memory.data());
}

zelos::Emulator::Options options_of(const zelos_open_options* options) {
  zelos::Emulator::Options o;
  if (options != nullptr && options->struct_size >= sizeof(zelos_open_options))
    o.verify_probes = options->skip_probes == 0;
  return o;
}

}  // namespace

extern "C" {

const char* zelos_version(void) { return zelos::kVersion; }

void zelos_abi_version(uint32_t* major, uint32_t* minor) {
  if (major != nullptr) *major = ZELOS_ABI_MAJOR;
  if (minor != nullptr) *minor = ZELOS_ABI_MINOR;
}

const char* zelos_status_text(zelos_status status) {
  switch (status) {
    case ZELOS_OK:
      return "ok";
    case ZELOS_E_ARGUMENT:
      return "wrong argument";
    case ZELOS_E_OUTSIDE:
      return "outside the region";
    case ZELOS_E_FORMAT:
      return "damaged or unknown format";
    case ZELOS_E_IO:
      return "input/output error";
    case ZELOS_E_NUMERIC:
      return "numerical failure";
    case ZELOS_E_MEMORY:
      return "out of memory";
    case ZELOS_E_CANCELLED:
      return "cancelled";
    case ZELOS_E_MISSING:
      return "missing plugin or capability";
    case ZELOS_E_INTERNAL:
      return "internal error";
    case ZELOS_STATUS_FORCE32:
      break;
  }
  return "unknown status";
}

zelos_status zelos_emulator_open(const char* path, const zelos_open_options* options, zelos_emulator** emulator,
                                 zelos_error* error) {
  return guarded(error, [&] {
    need(path != nullptr && emulator != nullptr, "zelos_emulator_open: path and emulator must not be NULL");
    *emulator = new zelos_emulator(zelos::Emulator::open(std::filesystem::path(path), options_of(options)));
    return ZELOS_OK;
  });
}

zelos_status zelos_emulator_open_memory(const void* bytes, size_t size, const char* name,
                                        const zelos_open_options* options, zelos_emulator** emulator,
                                        zelos_error* error) {
  return guarded(error, [&] {
    need(bytes != nullptr && emulator != nullptr, "zelos_emulator_open_memory: bytes and emulator must not be NULL");
    *emulator =
        new zelos_emulator(zelos::Emulator::open(bytes, size, name == nullptr ? "memory" : name, options_of(options)));
    return ZELOS_OK;
  });
}

void zelos_emulator_close(zelos_emulator* emulator) { delete emulator; }

const char* zelos_emulator_name(const zelos_emulator* e) { return e->emulator.name().c_str(); }
const char* zelos_emulator_version(const zelos_emulator* e) { return e->emulator.version().c_str(); }
const char* zelos_emulator_id(const zelos_emulator* e) { return e->emulator.id().c_str(); }
const char* zelos_emulator_info_json(const zelos_emulator* e) { return e->info.c_str(); }

int32_t zelos_emulator_n_parameters(const zelos_emulator* e) {
  return static_cast<int32_t>(e->emulator.parameters().size());
}

zelos_status zelos_emulator_parameter(const zelos_emulator* e, int32_t index, zelos_parameter_info* info,
                                      zelos_error* error) {
  return guarded(error, [&] {
    need(e != nullptr && info != nullptr, "zelos_emulator_parameter: emulator and info must not be NULL");
    need(index >= 0 && index < zelos_emulator_n_parameters(e), "zelos_emulator_parameter: index out of range");
    need(info->struct_size >= sizeof(uint32_t), "zelos_emulator_parameter: struct_size is not set");
    const zelos::Parameter& p = e->emulator.parameters()[index];
    give(zelos_parameter_info{0, p.name.c_str(), p.unit.c_str(), p.latex.c_str(), p.min, p.max,
                              static_cast<int32_t>(p.synonyms.size()), e->synonyms[index].data()},
         info);
    return ZELOS_OK;
  });
}

int32_t zelos_emulator_n_outputs(const zelos_emulator* e) { return static_cast<int32_t>(e->emulator.outputs().size()); }

zelos_status zelos_emulator_output(const zelos_emulator* e, int32_t index, zelos_output_info* info,
                                   zelos_error* error) {
  return guarded(error, [&] {
    need(e != nullptr && info != nullptr, "zelos_emulator_output: emulator and info must not be NULL");
    need(index >= 0 && index < zelos_emulator_n_outputs(e), "zelos_emulator_output: index out of range");
    need(info->struct_size >= sizeof(uint32_t), "zelos_emulator_output: struct_size is not set");
    const zelos::Output& o = e->emulator.outputs()[index];
    zelos_output_info full{0, o.name.c_str(), o.unit.c_str(), o.family.c_str(), static_cast<int32_t>(o.axes.size()),
                           {}};
    for (size_t a = 0; a < o.axes.size(); ++a) full.shape[a] = static_cast<int64_t>(o.axes[a].values.size());
    give(full, info);
    return ZELOS_OK;
  });
}

zelos_status zelos_emulator_axis(const zelos_emulator* e, int32_t output, int32_t axis, zelos_axis_info* info,
                                 zelos_error* error) {
  return guarded(error, [&] {
    need(e != nullptr && info != nullptr, "zelos_emulator_axis: emulator and info must not be NULL");
    need(output >= 0 && output < zelos_emulator_n_outputs(e), "zelos_emulator_axis: output index out of range");
    need(info->struct_size >= sizeof(uint32_t), "zelos_emulator_axis: struct_size is not set");
    const zelos::Output& o = e->emulator.outputs()[output];
    need(axis >= 0 && axis < static_cast<int32_t>(o.axes.size()), "zelos_emulator_axis: axis index out of range");
    const zelos::Output::Axis& a = o.axes[axis];
    const auto& labels = e->labels[output][axis];
    give(zelos_axis_info{0, a.name.c_str(), a.unit.c_str(), static_cast<int64_t>(a.values.size()), a.values.data(),
                         labels.empty() ? nullptr : labels.data()},
         info);
    return ZELOS_OK;
  });
}

zelos_status zelos_query_create(const zelos_emulator* emulator, int32_t n_parameters,
                                const char* const* parameter_names, int32_t n_requests, const zelos_request* requests,
                                zelos_query** query, zelos_error* error) {
  return guarded(error, [&] {
    need(emulator != nullptr && query != nullptr, "zelos_query_create: emulator and query must not be NULL");
    need(n_parameters >= 0 && (n_parameters == 0 || parameter_names != nullptr),
         "zelos_query_create: parameter_names is NULL");
    need(n_requests >= 0 && (n_requests == 0 || requests != nullptr), "zelos_query_create: requests is NULL");
    std::vector<std::string> names;
    for (int32_t i = 0; i < n_parameters; ++i) {
      need(parameter_names[i] != nullptr, "zelos_query_create: a parameter name is NULL");
      names.emplace_back(parameter_names[i]);
    }
    std::vector<zelos::Request> list;
    const char* at = reinterpret_cast<const char*>(requests);
    for (int32_t i = 0; i < n_requests; ++i) {
      const auto* r = reinterpret_cast<const zelos_request*>(at);
      need(r->struct_size >= sizeof(zelos_request) && r->output != nullptr,
           "zelos_query_create: a request lacks its struct_size or output");
      at += r->struct_size;
      zelos::Request request{r->output, {}};
      if (r->axis_sizes != nullptr) {
        size_t n_axes = 0;
        for (const zelos::Output& o : emulator->emulator.outputs()) {
          if (o.name == request.output) n_axes = o.axes.size();
        }
        for (size_t a = 0; a < n_axes; ++a) {
          const int64_t n = r->axis_sizes[a];
          need(n >= 0 && (n == 0 || (r->axis_values != nullptr && r->axis_values[a] != nullptr)),
               "zelos_query_create: axis_values is NULL for an axis with points");
          request.axes.emplace_back(n == 0 ? std::vector<double>{}
                                           : std::vector<double>(r->axis_values[a], r->axis_values[a] + n));
        }
      }
      list.push_back(std::move(request));
    }
    *query = new zelos_query{emulator->emulator.query(names, list)};
    return ZELOS_OK;
  });
}

void zelos_query_destroy(zelos_query* query) { delete query; }
int64_t zelos_query_size(const zelos_query* query) { return query->query.size(); }

zelos_status zelos_query_block(const zelos_query* query, int32_t index, int64_t* offset, int64_t* size,
                               zelos_error* error) {
  return guarded(error, [&] {
    need(query != nullptr, "zelos_query_block: query must not be NULL");
    const auto& blocks = query->query.blocks();
    need(index >= 0 && index < static_cast<int32_t>(blocks.size()), "zelos_query_block: index out of range");
    int64_t n = 1;
    for (const int64_t length : blocks[index].shape) n *= length;
    if (offset != nullptr) *offset = blocks[index].offset;
    if (size != nullptr) *size = n;
    return ZELOS_OK;
  });
}

zelos_status zelos_workspace_create(const zelos_query* query, zelos_workspace** workspace, zelos_error* error) {
  return guarded(error, [&] {
    need(query != nullptr && workspace != nullptr, "zelos_workspace_create: query and workspace must not be NULL");
    *workspace = new zelos_workspace{query->query.workspace(), &query->query.impl()};
    return ZELOS_OK;
  });
}

void zelos_workspace_destroy(zelos_workspace* workspace) { delete workspace; }

zelos_status zelos_evaluate(const zelos_query* query, const double* values, double* out, zelos_workspace* workspace,
                            zelos_verdict* verdict, zelos_error* error) {
  return guarded(error, [&] {
    check(query, values, workspace);
    check_out(query, {out});
    return answer(query->query.evaluate(values, out, workspace->workspace), verdict, error);
  });
}

zelos_status zelos_evaluate_batch(const zelos_query* query, int64_t n, const double* values, double* out,
                                  int32_t* inside, zelos_workspace* workspace, zelos_error* error) {
  return guarded(error, [&] {
    need(n >= 0, "evaluation: the number of points is negative");
    if (n == 0) return ZELOS_OK;
    check(query, values, workspace);
    check_out(query, {out});
    const int64_t d = query->query.n_parameters(), size = query->query.size();
    for (int64_t i = 0; i < n; ++i) {
      const bool ok = query->query.evaluate(values + i * d, out + i * size, workspace->workspace).inside();
      if (inside != nullptr) inside[i] = ok ? 1 : 0;
    }
    return ZELOS_OK;
  });
}

zelos_status zelos_jacobian(const zelos_query* query, const double* values, double* out, double* jacobian,
                            zelos_workspace* workspace, zelos_verdict* verdict, zelos_error* error) {
  return guarded(error, [&] {
    check(query, values, workspace);
    check_out(query, {out, jacobian});
    return answer(query->query.jacobian(values, out, jacobian, workspace->workspace), verdict, error);
  });
}

zelos_status zelos_jvp(const zelos_query* query, const double* values, const double* direction, double* out,
                       double* product, zelos_workspace* workspace, zelos_verdict* verdict, zelos_error* error) {
  return guarded(error, [&] {
    check(query, values, workspace);
    check_out(query, {direction, out, product});
    return answer(query->query.jvp(values, direction, out, product, workspace->workspace), verdict, error);
  });
}

zelos_status zelos_vjp(const zelos_query* query, const double* values, const double* cotangent, double* out,
                       double* product, zelos_workspace* workspace, zelos_verdict* verdict, zelos_error* error) {
  return guarded(error, [&] {
    check(query, values, workspace);
    check_out(query, {cotangent, out, product});
    return answer(query->query.vjp(values, cotangent, out, product, workspace->workspace), verdict, error);
  });
}

zelos_status zelos_verdict_at(const zelos_query* query, const double* values, zelos_workspace* workspace,
                              zelos_verdict* verdict, zelos_error* error) {
  return guarded(error, [&] {
    check(query, values, workspace);
    fill(query->query.verdict(values, workspace->workspace), verdict);
    return ZELOS_OK;
  });
}

zelos_status zelos_predicted_error(const zelos_query* query, const double* values, double* errors,
                                   zelos_workspace* workspace, zelos_error* error) {
  return guarded(error, [&] {
    check(query, values, workspace);
    check_out(query, {errors});
    const zelos::Verdict verdict = query->query.predicted_error(values, errors, workspace->workspace);
    return has_error(workspace, verdict) ? ZELOS_OK : answer(verdict, nullptr, error);
  });
}

zelos_status zelos_error_model_create(const zelos_query* query, const zelos_likelihood* likelihood,
                                      zelos_error_model** model, zelos_error* error) {
  return guarded(error, [&] {
    need(query != nullptr && model != nullptr, "zelos_error_model_create: query and model must not be NULL");
    zelos_likelihood given{};
    given.struct_size = sizeof given;
    if (likelihood != nullptr) {
      need(likelihood->struct_size >= sizeof(uint32_t), "zelos_error_model_create: struct_size is not set");
      std::memcpy(&given, likelihood, std::min<size_t>(likelihood->struct_size, sizeof given));
    }
    const auto copy = [](const double* from, int64_t n) {
      return from == nullptr ? std::vector<double>{} : std::vector<double>(from, from + n);
    };
    const int64_t size = query->query.size(), n = given.n_data;
    need(given.matrix == nullptr || given.covariance != nullptr,
         "zelos_error_model_create: a matrix needs a covariance");
    need(given.covariance == nullptr || (given.matrix == nullptr ? n == size : n >= 1 && n <= INT32_MAX),
         "zelos_error_model_create: n_data: expected the rows of the matrix, without one zelos_query_size");
    *model = new zelos_error_model{
        zelos::ErrorModel(query->query, {copy(given.covariance, n * n), copy(given.matrix, n * size),
                                         copy(given.reference, query->query.n_parameters())})};
    return ZELOS_OK;
  });
}

void zelos_error_model_destroy(zelos_error_model* model) { delete model; }

zelos_status zelos_error_model_evaluate(const zelos_error_model* model, const double* values, double* mean,
                                        double* quantile, zelos_workspace* workspace, zelos_error* error) {
  return guarded(error, [&] {
    need(model != nullptr && values != nullptr && workspace != nullptr,
         "zelos_error_model_evaluate: an argument is NULL");
    need(model->model.fits(workspace->owner), "zelos_error_model_evaluate: the workspace is not one of the query");
    zelos::ErrorEstimate estimate;
    const zelos::Verdict verdict = model->model.evaluate(values, &estimate, workspace->workspace);
    if (!has_error(workspace, verdict)) return answer(verdict, nullptr, error);
    if (mean != nullptr) *mean = estimate.mean;
    if (quantile != nullptr) *quantile = estimate.quantile;
    return ZELOS_OK;
  });
}

void zelos_error_model_calibration(const zelos_error_model* model, double* factor, int64_t* n_left_out) {
  if (factor != nullptr) *factor = model->model.calibration();
  if (n_left_out != nullptr) *n_left_out = model->model.n_left_out();
}

int32_t zelos_query_n_physics(const zelos_query* query) { return static_cast<int32_t>(query->query.physics().size()); }

zelos_status zelos_query_physics(const zelos_query* query, int32_t index, zelos_physics_info* info,
                                 zelos_error* error) {
  return guarded(error, [&] {
    need(query != nullptr && info != nullptr && info->struct_size >= sizeof(uint32_t),
         "zelos_query_physics: query and info must not be NULL, and info->struct_size must be set");
    const auto& list = query->query.physics();
    need(index >= 0 && index < static_cast<int32_t>(list.size()), "zelos_query_physics: index out of range");
    zelos_physics_info full{};
    full.kind = static_cast<zelos_physics_kind>(list[index].kind);
    full.name = list[index].name.c_str();
    full.held = list[index].held;
    give(full, info);
    return ZELOS_OK;
  });
}

zelos_status zelos_physics(const zelos_query* query, const double* values, double* numbers, int32_t* told,
                           zelos_workspace* workspace, zelos_error* error) {
  return guarded(error, [&] {
    check(query, values, workspace);
    need(numbers != nullptr, "zelos_physics: numbers must not be NULL");
    const zelos::Verdict verdict = query->query.physics(values, numbers, told, workspace->workspace);
    return verdict.inside() ? ZELOS_OK : report(error, ZELOS_E_ARGUMENT, to_string(verdict).c_str());
  });
}

zelos_status zelos_convert(double value, const char* name, const char* other, double* converted, zelos_error* error) {
  return guarded(error, [&] {
    need(name != nullptr && other != nullptr && converted != nullptr, "zelos_convert: an argument is NULL");
    *converted = zelos::convert(value, name, other);
    return ZELOS_OK;
  });
}

}  // extern "C"
