"""The resource types of FHIR R4 (4.0.1), and which of them belong to a hospital rather than to one patient.

https://hl7.org/fhir/R4/resourcelist.html. R4B removed some types and added others; this node speaks R4.
"""

from __future__ import annotations


def names(text: str) -> frozenset[str]:
    """The words of a text."""
    return frozenset(text.split())


R4_ONLY = names("""
    EffectEvidenceSynthesis MedicinalProduct MedicinalProductAuthorization MedicinalProductContraindication
    MedicinalProductIndication MedicinalProductIngredient MedicinalProductInteraction MedicinalProductManufactured
    MedicinalProductPackaged MedicinalProductPharmaceutical MedicinalProductUndesirableEffect RiskEvidenceSynthesis
    SubstanceNucleicAcid SubstancePolymer SubstanceProtein SubstanceReferenceInformation SubstanceSourceMaterial
    SubstanceSpecification
""")
"""Types that R4B dropped: the R4B models know nothing of them, so they are checked for structure only."""

R4_TYPES = R4_ONLY | names("""
    Account ActivityDefinition AdverseEvent AllergyIntolerance Appointment AppointmentResponse AuditEvent Basic Binary
    BiologicallyDerivedProduct BodyStructure Bundle CapabilityStatement CarePlan CareTeam CatalogEntry ChargeItem
    ChargeItemDefinition Claim ClaimResponse ClinicalImpression CodeSystem Communication CommunicationRequest
    CompartmentDefinition Composition ConceptMap Condition Consent Contract Coverage CoverageEligibilityRequest
    CoverageEligibilityResponse DetectedIssue Device DeviceDefinition DeviceMetric DeviceRequest DeviceUseStatement
    DiagnosticReport DocumentManifest DocumentReference Encounter Endpoint EnrollmentRequest EnrollmentResponse
    EpisodeOfCare EventDefinition Evidence EvidenceVariable ExampleScenario ExplanationOfBenefit FamilyMemberHistory
    Flag Goal GraphDefinition Group GuidanceResponse HealthcareService ImagingStudy Immunization
    ImmunizationEvaluation ImmunizationRecommendation ImplementationGuide InsurancePlan Invoice Library Linkage List
    Location Measure MeasureReport Media Medication MedicationAdministration MedicationDispense MedicationKnowledge
    MedicationRequest MedicationStatement MessageDefinition MessageHeader MolecularSequence NamingSystem
    NutritionOrder Observation ObservationDefinition OperationDefinition OperationOutcome Organization
    OrganizationAffiliation Parameters Patient PaymentNotice PaymentReconciliation Person PlanDefinition Practitioner
    PractitionerRole Procedure Provenance Questionnaire QuestionnaireResponse RelatedPerson RequestGroup
    ResearchDefinition ResearchElementDefinition ResearchStudy ResearchSubject RiskAssessment Schedule SearchParameter
    ServiceRequest Slot Specimen SpecimenDefinition StructureDefinition StructureMap Subscription Substance
    SupplyDelivery SupplyRequest Task TerminologyCapabilities TestReport TestScript ValueSet VerificationResult
    VisionPrescription
""")
"""Every concrete resource type of R4."""

SHARED_TYPES = R4_ONLY | names("""
    ActivityDefinition CapabilityStatement CatalogEntry ChargeItemDefinition CodeSystem CompartmentDefinition
    ConceptMap DeviceDefinition Endpoint EventDefinition Evidence EvidenceVariable ExampleScenario GraphDefinition
    HealthcareService ImplementationGuide InsurancePlan Library Location Measure Medication MedicationKnowledge
    MessageDefinition NamingSystem ObservationDefinition OperationDefinition Organization OrganizationAffiliation
    PlanDefinition Practitioner PractitionerRole Questionnaire ResearchDefinition ResearchElementDefinition
    ResearchStudy SearchParameter SpecimenDefinition StructureDefinition StructureMap Substance
    TerminologyCapabilities TestScript ValueSet
""")
"""Types that name no patient: kept once, in the hospital's directory twin (``twinward.twins.models.DIRECTORY``)."""

SUBSCRIPTION = "Subscription"
NO_RECORD = (
    "a Subscription is no record: it is created, read, searched, updated and deleted by itself, by its id, "
    "under [base]/Subscription, and has no history"
)
"""Why what is done to records is not done to it."""
