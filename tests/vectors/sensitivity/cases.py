"""Resources and what they tell of: codes in every place, spelled in every way, texts in five languages, ordinary care.

``CASES`` are positives and negatives; ``MISSED`` are positives that are known not to be recognised, and count as such.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from twinward.core.vocabulary import SENSITIVE, Category

P, S, H, X, G = (
    Category.PSYCHIATRY,
    Category.SUBSTANCE_USE,
    Category.HIV,
    Category.SEXUAL_HEALTH,
    Category.GENOMICS,
)
Json = dict[str, Any]
PATIENT = {"reference": "Patient/p"}
ICD10CM, SNOMED, LOINC = "http://hl7.org/fhir/sid/icd-10-cm", "http://snomed.info/sct", "http://loinc.org"
RXNORM, ATC, ICD11 = (
    "http://www.nlm.nih.gov/research/umls/rxnorm",
    "http://www.whocc.no/atc",
    "http://id.who.int/icd/release/11/mms",
)


@dataclass(frozen=True)
class Case:
    """One resource; ``told`` is what it must at least be recognised as, empty for ordinary care."""

    name: str
    resource: Json = field(repr=False)
    told: frozenset[Category]


def concept(system: str | None, code: str, **more: str) -> Json:
    return {"coding": [{"code": code, **({} if system is None else {"system": system}), **more}]}


def of(kind: str, **elements: Any) -> Json:
    return {"resourceType": kind, "id": "x", "subject": PATIENT, **elements}


def observation(**elements: Any) -> Json:
    return of("Observation", status="final", **({"code": concept(LOINC, "8302-2")} | elements))


SHAPES: dict[str, Callable[[Json], Json]] = {
    "Condition.code": lambda c: of("Condition", code=c),
    "Observation.valueCodeableConcept": lambda c: observation(valueCodeableConcept=c),
    "Observation.component.code": lambda c: observation(component=[{"code": c, "valueInteger": 3}]),
    "Observation.component.value": lambda c: observation(
        component=[{"code": {"text": "part"}, "valueCodeableConcept": c}]
    ),
    "Observation.contained": lambda c: observation(contained=[of("Condition", code=c)]),
    "Claim.diagnosis": lambda c: of("Claim", diagnosis=[{"sequence": 1, "diagnosisCodeableConcept": c}]),
    "Claim.item": lambda c: of("Claim", item=[{"sequence": 1, "productOrService": c}]),
    "ClinicalImpression.finding": lambda c: of("ClinicalImpression", finding=[{"itemCodeableConcept": c}]),
    "CarePlan.activity": lambda c: of("CarePlan", activity=[{"detail": {"status": "completed", "code": c}}]),
    "MedicationRequest.reasonCode": lambda c: of("MedicationRequest", reasonCode=[c]),
    "MedicationStatement.medication": lambda c: of("MedicationStatement", medicationCodeableConcept=c),
    "Encounter.reasonCode": lambda c: of("Encounter", reasonCode=[c]),
    "Procedure.code": lambda c: of("Procedure", code=c),
    "extension.valueCodeableConcept": lambda c: observation(
        extension=[{"url": "http://a/b", "valueCodeableConcept": c}]
    ),
    "nested extension.valueCoding": lambda c: observation(
        extension=[{"url": "http://a", "extension": [{"url": "b", "valueCoding": c["coding"][0]}]}]
    ),
    "Composition.section": lambda c: of("Composition", section=[{"section": [{"code": c}]}]),
    "QuestionnaireResponse.answer": lambda c: of(
        "QuestionnaireResponse", item=[{"linkId": "1", "answer": [{"valueCoding": c["coding"][0]}]}]
    ),
    "DiagnosticReport.conclusionCode": lambda c: of("DiagnosticReport", conclusionCode=[c]),
    "Flag.code": lambda c: of("Flag", code=c),
    "FamilyMemberHistory.condition": lambda c: of("FamilyMemberHistory", condition=[{"code": c}]),
    "ServiceRequest.code": lambda c: of("ServiceRequest", code=c),
    "Goal.description": lambda c: of("Goal", description=c),
    "List.code": lambda c: of("List", code=c),
    "Task.reasonCode": lambda c: of("Task", reasonCode=c),
    "Immunization.reasonCode": lambda c: of("Immunization", reasonCode=[c]),
    "AllergyIntolerance.reaction": lambda c: of("AllergyIntolerance", reaction=[{"manifestation": [c]}]),
    "Bundle.entry": lambda c: of("Bundle", entry=[{"resource": of("Condition", code=c)}]),
}

CODES: tuple[tuple[Category, str | None, str], ...] = (
    (P, ICD10CM, "F20.0"),
    (P, "https://hl7.org/fhir/sid/icd-10-cm/", "f20.0"),
    (P, "HTTP://HL7.ORG/FHIR/SID/ICD-10-CM", "F200"),
    (P, "urn:oid:2.16.840.1.113883.6.90", "F32.1"),
    (P, "2.16.840.1.113883.6.3", "F41.1"),
    (P, "http://fhir.de/CodeSystem/bfarm/icd-10-gm", "F33.2 G"),
    (P, "urn:oid:1.2.276.0.76.5.480", "F60.3"),
    (P, "http://hl7.org/fhir/sid/icd-10|2019", "X78.9"),
    (P, "http://hl7.org/fhir/sid/icd-10-cm", "R45.851"),
    (P, "http://hl7.org/fhir/sid/icd-9-cm", "296.20"),
    (P, "urn:oid:2.16.840.1.113883.6.103", "295"),
    (P, ICD11, "6A20.0"),
    (P, "http://hl7.org/fhir/sid/icd-11", "6a70.3"),
    (P, "http://id.who.int/icd/entity", "1683919430"),
    (P, SNOMED, "58214004"),
    (P, "http://snomed.info/sct/731000124108/version/20230901", "13746004"),
    (P, "urn:oid:2.16.840.1.113883.6.96", " 35489007 "),
    (P, "SNOMED CT", "191736004"),
    (P, SNOMED, "58214004:246112005=24484000"),
    (P, LOINC, "44261-6"),
    (P, "urn:oid:2.16.840.1.113883.6.1", "69737-5"),
    (P, RXNORM, "2626"),
    (P, "urn:oid:2.16.840.1.113883.6.88", "35636"),
    (P, ATC, "N05AH02"),
    (P, "urn:oid:2.16.840.1.113883.6.73", "n06ab03"),
    (P, "http://www.ama-assn.org/go/cpt", "90837"),
    (P, "urn:oid:2.16.840.1.113883.6.344", "F84.0"),
    (P, "http://hl7.org/fhir/sid/icpc-2", "P76"),
    (P, None, "F31.2"),
    (P, "http://hospital.example/codes", "6A60"),
    (S, ICD10CM, "F10.20"),
    (S, "urn:oid:2.16.840.1.113883.6.90", "F11.23"),
    (S, ICD10CM, "K70.30"),
    (S, "http://hl7.org/fhir/sid/icd-9-cm", "304.01"),
    (S, ICD11, "6C40.2"),
    (S, SNOMED, "66590003"),
    (S, SNOMED, "75544000"),
    (S, LOINC, "75626-2"),
    (S, LOINC, "82667-7"),
    (S, RXNORM, "6813"),
    (S, ATC, "N07BC02"),
    (S, "https://www.cms.gov/Medicare/Coding/HCPCSReleaseCodeSets", "H0020"),
    (S, "http://www.ama-assn.org/go/cpt", "G2067"),
    (H, ICD10CM, "B20"),
    (H, ICD10CM, "Z21"),
    (H, "urn:oid:2.16.840.1.113883.6.3", "B24"),
    (H, "http://hl7.org/fhir/sid/icd-9-cm", "042"),
    (H, ICD11, "1C62.0"),
    (H, SNOMED, "86406008"),
    (H, LOINC, "75622-1"),
    (H, LOINC, "25836-8"),
    (H, RXNORM, "1433868"),
    (H, ATC, "J05AR13"),
    (H, "urn:oid:2.16.840.1.113883.6.12", "87536"),
    (X, ICD10CM, "O04.89"),
    (X, ICD10CM, "Z30.430"),
    (X, ICD10CM, "A54.01"),
    (X, ICD10CM, "N97.9"),
    (X, "urn:oid:2.16.840.1.113883.6.103", "635.90"),
    (X, ICD11, "1A82"),
    (X, SNOMED, "72892002"),
    (X, SNOMED, "714812005"),
    (X, LOINC, "82810-3"),
    (X, LOINC, "76690-7"),
    (X, ATC, "G03AA07"),
    (X, RXNORM, "6694"),
    (X, "http://www.ama-assn.org/go/cpt", "59840"),
    (G, LOINC, "69548-6"),
    (G, LOINC, "51968-6"),
    (G, ICD10CM, "Q90.9"),
    (G, ICD10CM, "Z15.01"),
    (G, "urn:oid:2.16.840.1.113883.6.90", "E84.0"),
    (G, ICD11, "LD40.0"),
    (G, SNOMED, "363779003"),
    (G, "http://www.genenames.org/geneId", "HGNC:1100"),
    (G, "http://varnomen.hgvs.org", "NM_000059.3:c.5946del"),
    (G, "http://www.ama-assn.org/go/cpt", "81211"),
)

TEXTS: tuple[tuple[Category, str], ...] = (
    (P, "Schizophrenia"),
    (P, "Paranoide Schizophrenie"),
    (P, "Esquizofrenia paranoide"),
    (P, "schizofrenia paranoide"),
    (P, "Major depressive disorder"),
    (P, "Wochenbettdepression"),
    (P, "dépression sévère"),
    (P, "DEPRESIÓN MAYOR"),
    (P, "Bipolar affective disorder"),
    (P, "trouble bipolaire"),
    (P, "Generalized anxiety disorder"),
    (P, "Angststörung"),
    (P, "trastorno de ansiedad"),
    (P, "Suicide attempt"),
    (P, "Suizidalität"),
    (P, "Post-traumatic stress disorder"),
    (P, "Posttraumatische Belastungsstörung"),
    (P, "Persönlichkeitsstörung"),
    (P, "Clozapine 100 mg"),
    (P, "Quetiapin 25 mg"),
    (P, "PHQ-9 total score"),
    (P, "Anorexia nervosa"),
    (P, "ADHD"),
    (P, "salud mental"),
    (P, "F20.0"),
    (P, "шизофрения"),
    (P, "うつ病"),
    (S, "Alcohol dependence"),
    (S, "Alkoholabhängigkeit"),
    (S, "alcoolisme chronique"),
    (S, "dependencia del alcohol"),
    (S, "dipendenza da alcol"),
    (S, "Opioid use disorder"),
    (S, "Cannabis abuse"),
    (S, "Kokainabusus"),
    (S, "Heroin overdose"),
    (S, "Methadone maintenance"),
    (S, "Suboxone"),
    (S, "toxicomanie"),
    (S, "drogodependencia"),
    (S, "injection drug user"),
    (H, "HIV infection"),
    (H, "AIDS"),
    (H, "HIV-1 RNA viral load"),
    (H, "infection par le VIH"),
    (H, "infección por VIH"),
    (H, "Acquired immune deficiency syndrome"),
    (H, "Antiretroviral therapy"),
    (H, "Biktarvy"),
    (H, "ВИЧ-инфекция"),
    (X, "Induced abortion"),
    (X, "Schwangerschaftsabbruch"),
    (X, "interruption volontaire de grossesse"),
    (X, "aborto espontáneo"),
    (X, "Chlamydia trachomatis infection"),
    (X, "Gonorrhoea"),
    (X, "sífilis"),
    (X, "Oral contraceptive"),
    (X, "Sterilität"),
    (X, "Erectile dysfunction"),
    (X, "Gender dysphoria"),
    (X, "sexual assault"),
    (G, "BRCA1 mutation carrier"),
    (G, "Trisomie 21"),
    (G, "Zystische Fibrose"),
    (G, "fibrosis quística"),
    (G, "Huntington's disease"),
    (G, "whole exome sequencing"),
    (G, "sickle cell anaemia"),
    (G, "genetische Beratung"),
)

_TEXT_SHAPES: tuple[Callable[[str], Json], ...] = (
    lambda t: of("Condition", code={"text": t}),
    lambda t: observation(valueString=t),
    lambda t: of("MedicationRequest", medicationCodeableConcept={"text": t}),
    lambda t: of("Encounter", reasonCode=[{"coding": [{"display": t}]}]),
    lambda t: of("Procedure", note=[{"text": f"Known: {t}."}]),
    lambda t: observation(text={"status": "generated", "div": f"<div><p>{t}</p></div>"}),
    lambda t: of("Claim", diagnosis=[{"diagnosisCodeableConcept": {"text": t}}]),
    lambda t: of(
        "DocumentReference",
        content=[{"attachment": {"contentType": "text/plain", "data": base64.b64encode(t.encode()).decode()}}],
    ),
    lambda t: of("CarePlan", description=t),
    lambda t: of("Encounter", location=[{"location": {"display": t}}]),
)

_V3 = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
_CONFIDENTIAL = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"


def _labelled(system: str, code: str) -> Json:
    return observation(meta={"security": [{"system": system, "code": code}]})


OTHERS: tuple[tuple[str, frozenset[Category], Json], ...] = (
    ("label PSY", frozenset({P}), _labelled(_V3, "PSY")),
    ("label by OID", frozenset({P}), _labelled("urn:oid:2.16.840.1.113883.5.4", "psy")),
    ("label ETH", frozenset({S}), _labelled(_V3, "ETH")),
    ("label HIV", frozenset({H}), _labelled(_V3, "HIV")),
    ("label SEX", frozenset({X}), _labelled(_V3, "SEX")),
    ("label GDIS", frozenset({G}), _labelled(_V3, "GDIS")),
    ("restricted, and not why", SENSITIVE, _labelled(_CONFIDENTIAL, "R")),
    ("very restricted", SENSITIVE, _labelled(_CONFIDENTIAL, "V")),
    ("an uncoded condition", SENSITIVE, of("Condition", code={"text": "a private matter"})),
    ("a condition without code", SENSITIVE, of("Condition")),
    ("a condition in a house code", SENSITIVE, of("Condition", code=concept("http://hospital.example", "A17"))),
    (
        "a condition of a null flavour",
        SENSITIVE,
        of("Condition", code=concept(_V3.replace("ActCode", "NullFlavor"), "UNK")),
    ),
    ("an uncoded contained condition", SENSITIVE, observation(contained=[of("Condition", code={"text": "?"})])),
    ("a sequence", frozenset({G}), of("MolecularSequence", coordinateSystem=0)),
    (
        "a genetics report",
        frozenset({G}),
        of("DiagnosticReport", category=[concept("http://terminology.hl7.org/CodeSystem/v2-0074", "GE")]),
    ),
    (
        "a genetics extension",
        frozenset({G}),
        observation(
            extension=[{"url": "http://hl7.org/fhir/StructureDefinition/observation-geneticsGene", "valueString": "x"}]
        ),
    ),
    (
        "a genomics profile",
        frozenset({G}),
        observation(meta={"profile": ["http://hl7.org/fhir/uv/genomics-reporting/StructureDefinition/variant"]}),
    ),
    ("a form by its address", frozenset({P}), of("QuestionnaireResponse", questionnaire="http://loinc.org/q/44249-1")),
    ("an item by its link", frozenset({P}), of("QuestionnaireResponse", item=[{"linkId": "/44250-9", "answer": []}])),
    (
        "a contained medication",
        frozenset({P}),
        of("MedicationRequest", contained=[{"resourceType": "Medication", "code": concept(ATC, "N05AH02")}]),
    ),
    (
        "two at once",
        frozenset({P, H}),
        observation(component=[{"code": concept(ICD10CM, "F32.1")}, {"code": concept(ICD10CM, "B20")}]),
    ),
)

ORDINARY_CODES: tuple[tuple[str, str], ...] = (
    *(
        (ICD10CM, code)
        for code in ("I10", "E11.9", "J45.909", "N18.3", "E78.5", "M54.5", "J06.9", "K21.9", "G43.909", "C50.911")
    ),
    *(
        (ICD10CM, code)
        for code in ("S52.501A", "Z00.00", "Z23", "E66.9", "D64.9", "H52.13", "L20.9", "I48.91", "A09", "B35.1")
    ),
    *(
        (SNOMED, code)
        for code in ("38341003", "44054006", "195967001", "55822004", "22298006", "73211009", "40930008", "271737000")
    ),
    *(
        (SNOMED, code)
        for code in ("444814009", "10509002", "162673000", "68496003", "84114007", "13645005", "80146002", "274531002")
    ),
    *(
        (LOINC, code)
        for code in (
            "4548-4",
            "2339-0",
            "8480-6",
            "8462-4",
            "2093-3",
            "18262-6",
            "718-7",
            "33914-3",
            "72166-2",
            "29463-7",
        )
    ),
    *((RXNORM, code) for code in ("860975", "314076", "197361", "313782", "308136", "310798", "849574", "861467")),
    *((ATC, code) for code in ("A10BA02", "C09AA02", "C10AA05", "N02BE01", "J01CA04", "R03AC02", "B01AC06", "J05AF10")),
    *((ICD11, code) for code in ("BA00", "5A11", "CA23", "8A80")),
    *(("http://www.ama-assn.org/go/cpt", code) for code in ("99213", "80053", "93000", "71046")),
    ("urn:oid:2.16.840.1.113883.6.238", "2106-3"),
    ("http://hl7.org/fhir/sid/cvx", "140"),
    ("http://terminology.hl7.org/CodeSystem/v3-MaritalStatus", "S"),
)

ORDINARY_TEXTS: tuple[str, ...] = (
    "ST depression in V4 to V6",
    "Respiratory depression after surgery",
    "Depressed skull fracture",
    "Atemdepression",
    "Bone marrow depression",
    "Non-alcoholic fatty liver disease",
    "Nichtalkoholische Fettleber",
    "Isopropyl alcohol swab",
    "Bipolar electrocautery",
    "Bipolar hemiarthroplasty of hip",
    "Hearing aids",
    "Lithium heparin plasma tube",
    "Haemophilus influenzae type b vaccine",
    "Chlamydia pneumoniae pneumonia",
    "GAD65 antibody",
    "Nirmatrelvir / ritonavir",
    "Falciform ligament",
    "Procedure aborted",
    "Urticaria (hives)",
    "Hydrogen breath test",
    "Essential hypertension",
    "Diabetes mellitus type 2",
    "Bluthochdruck",
    "hypertension artérielle",
    "asma bronquial",
    "Knie-TEP links",
    "Total cholesterol",
    "Tobacco smoking status",
    "Photophobia",
    "Loss of appetite",
    "Drug allergy: penicillin",
    "Drug-induced rash",
    "Huntington Hospital",
    "Metformin 500 mg",
    "Influenza vaccine",
    "Fracture of radius",
    "Mammography screening",
    "Colonoscopy",
    "Permutation",
    "Aspergillus fumigatus",
    "Vaccination administered",
    "Insulinabhängiger Diabetes",
    "Manicure of nails",
    "Patient lives alone",
    "Female, 61 years",
)


def _cases() -> list[Case]:
    cases: list[Case] = []
    shapes = list(SHAPES.items())
    for number, (category, system, code) in enumerate(CODES):
        for where, shape in (shapes[number % len(shapes)], shapes[(number * 7 + 3) % len(shapes)]):
            cases.append(Case(f"{where} {system} {code}", shape(concept(system, code)), frozenset({category})))
    for where, shape in shapes:  # every shape with one code of each category
        for category, code in ((P, "F20.0"), (S, "F11.20"), (H, "B20"), (X, "O04.5"), (G, "Q90.9")):
            cases.append(Case(f"{where} {code}", shape(concept(ICD10CM, code)), frozenset({category})))
    for number, (category, text) in enumerate(TEXTS):
        shape = _TEXT_SHAPES[number % len(_TEXT_SHAPES)]
        cases.append(Case(f"text {number} {text}", shape(text), frozenset({category})))
    cases += [Case(name, resource, told) for name, told, resource in OTHERS]
    for number, (system, code) in enumerate(ORDINARY_CODES):
        where, shape = shapes[1 + number % (len(shapes) - 2)]
        if "contained" in where:
            where, shape = shapes[1]
        cases.append(Case(f"ordinary: {where} {system} {code}", shape(concept(system, code)), frozenset()))
    for system, code in ORDINARY_CODES:
        if system in (ICD10CM, SNOMED, ICD11):
            resource = of("Condition", code=concept(system, code))
            cases.append(Case(f"ordinary: Condition.code {system} {code}", resource, frozenset()))
    for number, text in enumerate(ORDINARY_TEXTS):
        shape = _TEXT_SHAPES[1 + number % (len(_TEXT_SHAPES) - 1)]  # a condition needs a code
        cases.append(Case(f"ordinary: text {number} {text}", shape(text), frozenset()))
    return cases


CASES = _cases()

MISSED = (
    Case(
        "an unlisted SNOMED concept, no text",
        observation(valueCodeableConcept=concept(SNOMED, "133091000119105")),
        frozenset({P}),
    ),
    Case(
        "an unlisted product of RxNorm, no text",
        of("MedicationRequest", medicationCodeableConcept=concept(RXNORM, "349439")),
        frozenset({P}),
    ),
    Case(
        "a national drug code, no text",
        of("MedicationRequest", medicationCodeableConcept=concept("http://hl7.org/fhir/sid/ndc", "00093-4359-01")),
        frozenset({P}),
    ),
    Case("a language that is not among the five", observation(valueString="vakava masennus"), frozenset({P})),
    Case("a slip of the pen", observation(valueString="shizofrenia"), frozenset({P})),
    Case(
        "a scan",
        of(
            "DocumentReference",
            content=[{"attachment": {"contentType": "application/pdf", "data": "JVBERi0xLjQK/9j/4AAQ"}}],
        ),
        frozenset({P}),
    ),
)
